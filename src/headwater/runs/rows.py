"""The text of a run: the rows that it trains on, in their order, its held-out text, and which documents a step sees.

Nothing needs to be trained, and torch isn't loaded. Rows are a pure function of their number, and steps consume them in
order; after a rollback, the run's log of interventions says with which row it continued.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from headwater.batches.mixture import make_plan
from headwater.batches.pack import PackedSource, pack_source
from headwater.batches.source import BatchSource
from headwater.corpus.load import find_documents
from headwater.errors import ConfigError, DataError, StoreError
from headwater.runs.paths import Folders, Require, Say
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import rebuild_tokens
from headwater.seals import is_unmade
from headwater.tokens.read import TokenStore, open_stores, open_stores_without_verifying
from headwater.train.interventions import Interventions, read_interventions


@dataclass(frozen=True)
class RunText:
    """The rows to train on, and the packed held-out text of each source."""

    batches: BatchSource
    held_out: dict[str, PackedSource]


def open_text(config: RunConfig) -> RunText:
    """Return a run's text; every store is read through once and verified.

    Raises StoreError for a store that is damaged, or where none is built yet.
    """
    return RunText(open_batches(config), open_held_out(config))


def open_or_rebuild_text(config: RunConfig, say: Say, require_owner: Require) -> RunText:
    """Return a run's text; encode the corpus again, with a line that says so, where a store is damaged."""
    _require_built(config)
    try:
        return open_text(config)
    except StoreError as error:
        say(f"encoding the corpus again: {error}")
        rebuild_tokens(config, say, require_owner)
        return open_text(config)


def open_batches(config: RunConfig) -> BatchSource:
    """Return the rows of the training split, mixed as the run's settings say; every store is verified."""
    _require_built(config)
    return _batches(config, open_stores)


def open_verified_batches(config: RunConfig) -> BatchSource:
    """Return what `open_batches` does, where another rank of this machine has verified the stores."""
    return _batches(config, open_stores_without_verifying)


def open_held_out(config: RunConfig) -> dict[str, PackedSource]:
    """Return the packed validation split of each source that has one, verified."""
    stores = open_stores(Folders(config.run_dir).tokens, "validation")
    return {name: pack_source(store, config.model.seq_len) for name, store in stores.items()}


def _require_built(config: RunConfig) -> None:
    tokens = Folders(config.run_dir).tokens
    if is_unmade(tokens):
        raise StoreError(f"{tokens} is not built yet; `headwater corpus tokenizer train RUN.toml` builds it")


def _batches(config: RunConfig, open_split: Callable[..., dict[str, TokenStore]]) -> BatchSource:
    tokens = Folders(config.run_dir).tokens
    stores = open_split(tokens, "train")
    if not stores:
        raise DataError(f"{tokens} holds no training text; see `headwater corpus show`")
    sources = {name: pack_source(store, config.model.seq_len) for name, store in stores.items()}
    rows = {name: source.num_rows for name, source in sources.items()}
    plan = make_plan(rows, config.mixture, config.num_rows)
    return BatchSource(sources, plan, config.model.seq_len, config.seed)


def where_step(config: RunConfig, step: int) -> dict[str, Any]:
    """Return {step, skipped, rows}: what the update that completes `step` is made from, as `where_rows` has it.

    `skipped`: there was no update, because its loss or gradient was not finite or stood out. Raises ConfigError
    for a step that the run hasn't.
    """
    if not 1 <= step <= config.train.num_steps:
        raise ConfigError(f"step {step} is not one of this run's: they are 1 to {config.train.num_steps}")
    rows_per_step = config.train.batch_tokens // config.model.seq_len
    interventions = Interventions(read_interventions(config.run_dir), {})
    first_row = interventions.first_row_of(step, rows_per_step)
    return {
        "step": step,
        "skipped": interventions.skip_at(first_row) is not None,
        "rows": where_rows(config, range(first_row, first_row + rows_per_step)),
    }


def where_rows(config: RunConfig, rows: range) -> list[dict[str, Any]]:
    """Return {row, source, epoch, num_tokens, seq_len, passages} of each row; a passage has its document and tokens.

    `epoch` counts from 0 how often the source has been seen before; what `num_tokens` leaves of `seq_len` is padding.
    Raises ConfigError for a row that the run hasn't.
    """
    # rows that were skipped after trouble are made up for: a run may go beyond those of its settings
    rows_per_step = config.train.batch_tokens // config.model.seq_len
    interventions = Interventions(read_interventions(config.run_dir), {})
    last = interventions.first_row_of(config.train.num_steps + 1, rows_per_step) - 1
    if rows.start < 0 or rows.stop - 1 > last:
        raise ConfigError(f"sequence {rows.start} is not one of this run's: they are 0 to {last}")
    batches, found = open_batches(config), []
    for row in rows:
        source, epoch, _ = batches.place_of(row)
        passages = [asdict(passage) for passage in batches.passages_of(row)]
        filled, seq_len = sum(passage["num_targets"] for passage in passages), batches.seq_len
        sizes = {"num_tokens": filled, "seq_len": seq_len}
        found.append({"row": row, "source": source, "epoch": epoch, **sizes, "passages": passages})
    for source in {row["source"] for row in found}:
        passages = [passage for row in found if row["source"] == source for passage in row["passages"]]
        ids = {passage["document"] for passage in passages}
        documents = find_documents(Folders(config.run_dir).corpus, "train", source, ids)
        for passage in passages:
            document = documents.get(passage["document"])
            passage["title"] = document.meta.get("title", "") if document else ""
    return found
