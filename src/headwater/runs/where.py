"""What a model sees at a step: the documents in its rows, by a run's settings and tokens. Nothing needs to be trained.

Rows are a pure function of their number, and steps consume them in order; after a rollback, the run's log of
interventions says with which row it continued.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from headwater.batches.source import BatchSource
from headwater.corpus.load import find_documents
from headwater.errors import ConfigError
from headwater.runs.paths import Folders
from headwater.runs.rows import open_batches
from headwater.runs.run_config import RunConfig
from headwater.train.interventions import Interventions, read_interventions


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
    batches = open_batches(config)
    found = [_row(batches, row) for row in rows]
    titles = _titles(config, found)
    for row in found:
        for passage in row["passages"]:
            passage["title"] = titles[row["source"]].get(passage["document"], "")
    return found


def _row(batches: BatchSource, row: int) -> dict[str, Any]:
    source, epoch, _ = batches.place_of(row)
    passages = [asdict(passage) for passage in batches.passages_of(row)]
    filled = sum(passage["num_targets"] for passage in passages)
    return {
        "row": row,
        "source": source,
        "epoch": epoch,
        "num_tokens": filled,
        "seq_len": batches.seq_len,
        "passages": passages,
    }


def _titles(config: RunConfig, rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Return {source: {document id: title}} of the documents that have one."""
    ids: dict[str, set[str]] = {}
    for row in rows:
        ids.setdefault(row["source"], set()).update(passage["document"] for passage in row["passages"])
    corpus_dir = Folders(config.run_dir).corpus
    return {
        source: {name: document.meta.get("title", "") for name, document in documents.items()}
        for source, documents in (
            (source, find_documents(corpus_dir, "train", source, wanted)) for source, wanted in ids.items()
        )
    }
