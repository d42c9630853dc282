"""The text of a run: its rows in their order, its held-out text, what a step sees, the balance and the data card.

Nothing needs to be trained, and torch isn't loaded. Rows are a pure function of their number, and steps consume them in
order; after a rollback, the run's log of interventions says with which row it continued.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.batches.mixture import make_plan
from headwater.batches.pack import PackedSource
from headwater.batches.rows import open_packed
from headwater.batches.source import BatchSource
from headwater.corpus.balance import dropped_by_stage, with_text
from headwater.corpus.load import find_documents, read_corpus_manifest
from headwater.errors import ConfigError, DataError, HeadwaterError, StoreError
from headwater.export.data_card import data_card
from headwater.files import read_manifest_or_none
from headwater.interventions import Interventions, read_interventions
from headwater.runs.paths import Folders, stage_digest
from headwater.runs.run_config import RunConfig, config_of_run
from headwater.seals import is_unmade
from headwater.tokens.build import tokens_key

_FINDINGS = ("kept_by", "decontamination", "redaction", "licences_not_allowed")


@dataclass(frozen=True)
class RunText:
    """The rows to train on, and the packed held-out text of each source."""

    batches: BatchSource
    held_out: dict[str, PackedSource]


def open_text(config: RunConfig) -> RunText:
    """Return a run's text; a store that isn't the one that was verified is read through and verified.

    Raises StoreError for a store that is damaged, or where none is built yet.
    """
    return RunText(open_batches(config), open_held_out(config))


def open_batches(config: RunConfig) -> BatchSource:
    """Return the rows of the training split, mixed as the run's settings say."""
    folders = Folders(config.run_dir)
    if is_unmade(folders.tokens):
        raise StoreError(f"{folders.tokens} is not built yet; `headwater corpus tokenizer train RUN.toml` builds it")
    sources = open_packed(folders.tokens, folders.rows, "train", config.model.seq_len)
    if not sources:
        raise DataError(f"{folders.tokens} holds no training text; see `headwater corpus show`")
    rows = {name: source.num_rows for name, source in sources.items()}
    plan = make_plan(rows, config.mixture, config.num_rows)
    return BatchSource(sources, plan, config.model.seq_len, config.seed)


def open_held_out(config: RunConfig) -> dict[str, PackedSource]:
    """Return the packed validation split of each source that has one."""
    folders = Folders(config.run_dir)
    return open_packed(folders.tokens, folders.rows, "validation", config.model.seq_len)


# ---- what a step sees


def where_step(config: RunConfig, step: int) -> dict[str, Any]:
    """Return {step, skipped, rows}: what the update that completes `step` is made from, as `where_rows` has it.

    `skipped`: there was no update, because its loss or gradient was not finite or stood out. Raises ConfigError
    for a step that the run hasn't.
    """
    if not 1 <= step <= config.train.num_steps:
        raise ConfigError(f"step {step} is not one of this run's: they are 1 to {config.train.num_steps}")
    log, rows_per_step = _interventions(config)
    first = log.first_row_of(step, rows_per_step)
    rows = where_rows(config, range(first, first + rows_per_step))
    return {"step": step, "skipped": log.skip_at(first) is not None, "rows": rows}


def _interventions(config: RunConfig) -> tuple[Interventions, int]:
    """Return the run's log of interventions, and how many rows a step has."""
    return Interventions(read_interventions(config.run_dir), {}), config.train.batch_tokens // config.model.seq_len


def where_rows(config: RunConfig, rows: range) -> list[dict[str, Any]]:
    """Return {row, source, epoch, num_tokens, seq_len, passages} of each row; a passage has its document and tokens.

    `epoch` counts from 0 how often the source has been seen before; what `num_tokens` leaves of `seq_len` is padding.
    Raises ConfigError for a row that the run hasn't.
    """
    # rows that were skipped after trouble are made up for: a run may go beyond those of its settings
    log, rows_per_step = _interventions(config)
    last = log.first_row_of(config.train.num_steps + 1, rows_per_step) - 1
    if rows.start < 0 or rows.stop - 1 > last:
        raise ConfigError(f"sequence {rows.start} is not one of this run's: they are 0 to {last}")
    batches, found = open_batches(config), []
    for row in rows:
        source, epoch, _ = batches.place_of(row)
        passages = [asdict(passage) for passage in batches.passages_of(row)]
        sizes = {"num_tokens": sum(each["num_targets"] for each in passages), "seq_len": batches.seq_len}
        found.append({"row": row, "source": source, "epoch": epoch, **sizes, "passages": passages})
    for source in {row["source"] for row in found}:
        passages = [passage for row in found if row["source"] == source for passage in row["passages"]]
        ids = {passage["document"] for passage in passages}
        documents = find_documents(Folders(config.run_dir).corpus, "train", source, ids)
        for passage in passages:
            document = documents.get(passage["document"])
            passage["title"] = document.meta.get("title", "") if document else ""
    return found


# ---- what became of the text


def balance_of_run(run_dir: Path) -> dict[str, Any]:
    """Return {sources, splits, kept_by, …} of a run's corpus.

    A source has read, kept, dropped (by reason) and stages (the same by stage), in bytes as read; cleaned_bytes
    and text, as corpus.balance.with_text says. `splits` and `kept_by` are parts of text. Raises DataError without one.
    """
    manifest = read_corpus_manifest(Folders(run_dir).corpus)
    splits = manifest["splits"]
    sources = {
        name: {**with_text(sheet, splits, name), "stages": dropped_by_stage(sheet)}
        for name, sheet in manifest["sources"].items()
    }
    return {"sources": sources, "splits": splits, **{name: manifest[name] for name in _FINDINGS if name in manifest}}


def training_of_run(run_dir: Path) -> dict[str, dict[str, float]] | None:
    """Return what a run will see of each source it trains on, or None where its text isn't tokenized.

    documents, tokens and rows of the source; tokens_lost, which packing skipped (0: every token but a document's first
    is predicted once an epoch); padding, the share of the rows' positions that hold none; weight, the share of the
    run's rows; rows_read, how many different ones the run may read; epochs, how often it goes through those.
    """
    folders = Folders(run_dir)
    key = tokens_key(stage_digest(folders.corpus), stage_digest(folders.tokenizer))
    if read_manifest_or_none(folders.tokens).get("key") != key:
        return None  # of another text, or none
    try:
        config = config_of_run(run_dir)
        batches = open_batches(config)
    except HeadwaterError:
        return None  # training says what is wrong
    plan, num_rows, result = batches.plan, config.num_rows, {}
    shares, epochs = plan.counts(num_rows), plan.epochs(num_rows)
    for name in plan.sources:
        packed = batches.packed(name)
        store = packed.store
        result[name] = {
            "documents": store.num_documents,
            "tokens": store.num_tokens,
            "rows": packed.num_rows,
            "rows_read": plan.rows[name],
            "tokens_lost": store.num_tokens - store.num_documents - packed.index.num_targets,
            "padding": round(packed.index.padding_fraction, 6),
            "weight": round(shares[name] / num_rows, 6),
            "epochs": round(epochs[name], 4),
        }
    return result


def data_card_of_run(config: RunConfig) -> dict[str, Any] | None:
    """Return the data card of a run, or None where its corpus isn't there any more."""
    folders = Folders(config.run_dir)
    try:
        balance = balance_of_run(config.run_dir)
    except DataError:
        return None
    inputs = read_manifest_or_none(folders.corpus).get("inputs", {})
    stages = {folder.name: stage_digest(folder) for folder in (folders.corpus, folders.tokenizer, folders.tokens)}
    digests = stages | {f"input {name}": digest for name, digest in inputs.items()}
    training = training_of_run(config.run_dir) or {}
    return data_card(config.name, config.corpus, config.mixture, balance, training, digests)
