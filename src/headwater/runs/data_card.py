"""What became of a run's text, by its stages' manifests: the balance of its corpus, and its data card. No torch."""

from __future__ import annotations

from glob import has_magic
from pathlib import Path, PurePath
from typing import Any

from headwater.corpus.balance import dropped_by_stage, with_text
from headwater.corpus.kept_by import COLUMNS, DATES
from headwater.corpus.load import read_corpus_manifest
from headwater.corpus.protect.licence import declared_licence
from headwater.errors import DataError, HeadwaterError
from headwater.export.data_card import FORMAT, FORMAT_VERSION
from headwater.files import read_manifest_or_none
from headwater.runs.paths import Folders, split_tokens, stage_digest
from headwater.runs.rows import open_batches
from headwater.runs.run_config import RunConfig, config_of_run
from headwater.sources.settings import SourceSettings
from headwater.sources.spdx import UNKNOWN
from headwater.tokens.build import tokens_key

_FINDINGS = ("kept_by", "decontamination", "redaction", "licences_not_allowed")


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
    found = {name: manifest[name] for name in _FINDINGS if name in manifest}
    return {"sources": sources, "splits": splits, **found}


def training_of_run(run_dir: Path) -> dict[str, dict[str, float]] | None:
    """Return what a run will see of each source it trains on, or None where its text isn't tokenized, or not whole.

    documents, tokens and rows of the source; tokens_lost, which packing skipped (0: every token but a document's first
    is predicted once an epoch); padding, the share of the rows' positions that hold none; weight, the share of the
    run's rows; rows_read, how many different ones the run may read; epochs, how often it goes through those.
    """
    folders = Folders(run_dir)
    corpus, tokenizer = stage_digest(folders.corpus), stage_digest(folders.tokenizer)
    if read_manifest_or_none(folders.tokens).get("key") != tokens_key(corpus, tokenizer):
        return None  # of another text, or none
    try:
        config = config_of_run(run_dir)
        batches = open_batches(config)
    except HeadwaterError:
        return None  # training says what is wrong
    num_rows = config.num_rows
    shares, epochs = batches.plan.counts(num_rows), batches.plan.epochs(num_rows)
    result = {}
    for name in batches.plan.sources:
        source = batches.packed(name)
        store = source.store
        result[name] = {
            "documents": store.num_documents,
            "tokens": store.num_tokens,
            "rows": source.num_rows,
            "rows_read": batches.plan.rows[name],
            "tokens_lost": store.num_tokens - store.num_documents - source.index.num_targets,
            "padding": round(source.index.padding_fraction, 6),
            "weight": round(shares[name] / num_rows, 6),
            "epochs": round(epochs[name], 4),
        }
    return result


# settings of the corpus that don't decide what a model has seen, or have a place of their own
_OTHERS = {"sources", "seed", "engine", "fetched_dir", "shard_bytes", "task_bytes", "max_line_bytes", "max_file_bytes"}


def data_card_of_run(config: RunConfig) -> dict[str, Any] | None:
    """Return the data card of a run, or None where its corpus isn't there any more.

    {format, format_version, name, sources, licences, decontamination, redaction, settings, digests}. A source has its
    kind, from, licence (as declared, "" for none), read, kept (cleaned text), cleaned_bytes, tokens (of the training
    part), dropped (by stage), by (licence, language and kind), dates and training; what was not requested is None.
    Bytes read = kept + cleaned_bytes + dropped.
    """
    folders = Folders(config.run_dir)
    try:
        balance = balance_of_run(config.run_dir)
    except DataError:
        return None
    corpus = read_manifest_or_none(folders.corpus)
    licences = config.corpus.licences
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "sources": _sources(config, balance),
        "licences": licences and {"allow": licences.allow, "not_allowed": balance.get("licences_not_allowed", {})},
        "decontamination": _without_items(balance.get("decontamination")),
        "redaction": balance.get("redaction"),
        "settings": _settings(config),
        "digests": {
            "corpus": str(corpus.get("digest")),
            "tokenizer": stage_digest(folders.tokenizer),
            "tokens": stage_digest(folders.tokens),
            **{f"input {name}": digest for name, digest in corpus.get("inputs", {}).items()},
        },
    }


def _settings(config: RunConfig) -> dict[str, Any]:
    deciding = config.corpus.model_dump(mode="json", exclude=_OTHERS)
    if (kept_out := deciding["decontaminate"]) is not None:
        kept_out["sets"] = {name: [_last_name(path) for path in paths] for name, paths in kept_out["sets"].items()}
    if deciding["quality"]["classifier"] is not None:
        deciding["quality"]["classifier"] = _last_name(deciding["quality"]["classifier"])
    return {**deciding, "mixture": config.mixture.model_dump(mode="json"), "seed": config.corpus.seed}


def _last_name(path: str) -> str:
    """Return the last name of a path, since the whole would tell of a person's disk; of a pattern with its folder's."""
    names = PurePath(path).parts
    plain = [at for at, name in enumerate(names) if not has_magic(name)]
    return str(PurePath(*names[plain[-1] :])) if plain else path


def _sources(config: RunConfig, balance: dict[str, Any]) -> dict[str, Any]:
    training = training_of_run(config.run_dir) or {}
    tokens = split_tokens(config.run_dir, "train") or {}
    sources = {}
    kept_by = balance.get("kept_by", {})
    for name, sheet in balance["sources"].items():
        source = config.corpus.sources[name]
        licence = declared_licence(source)
        sources[name] = {
            "kind": source.kind,
            "from": _origin(source),
            "licence": "" if licence == UNKNOWN else licence,
            "read": sheet["read"],
            "kept": sheet["text"],
            "cleaned_bytes": sheet["cleaned_bytes"],
            "tokens": tokens.get(name, 0),
            "dropped": sheet["stages"],
            "by": {column: kept_by.get(column, {}).get(name, {}) for column in COLUMNS},
            "dates": kept_by.get(DATES, {}).get(name),
            "training": training.get(name),
        }
    return sources


def _origin(source: SourceSettings) -> str:
    if source.paths is not None:
        return ", ".join(map(_last_name, source.paths))
    fetched = source.fetched or []
    return source.package or source.builtin or source.hf or ", ".join(fetched)


def _without_items(sets: dict[str, Any] | None) -> dict[str, Any] | None:
    if sets is None:
        return None
    return {name: {key: facts[key] for key in facts if key != "found_items"} for name, facts in sets.items()}
