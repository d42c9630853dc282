"""What the steps of a run are made from: rows, their sources and epochs, and the documents in them.

Rows are a pure function of their number, and steps consume them in order; after a rollback, the run's log of
interventions says with which row it continued.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError
from headwater.corpus.load import find_documents
from headwater.corpus.sources.settings import REPLAYED
from headwater.tokens.batches.source import BatchSource
from headwater.tokens.skipped_rows import Interventions


@dataclass(frozen=True)
class RunRows:
    """The rows of a run of `num_steps`, and the corpus that they are of."""

    batches: BatchSource
    corpus: Path
    log: Interventions
    num_steps: int
    rows_per_step: int

    def of_step(self, step: int) -> dict[str, Any]:
        """Return {step, skipped, rows}: what the update that completes `step` is made from, as `of_rows` has it.

        `skipped`: there was no update, because its loss or gradient was not finite or stood out. Raises ConfigError
        for a step that the run hasn't.
        """
        if not 1 <= step <= self.num_steps:
            raise ConfigError(f"step {step} is not one of this run's: they are 1 to {self.num_steps}")
        first = self.log.first_row_of(step, self.rows_per_step)
        rows = self.of_rows(range(first, first + self.rows_per_step))
        return {"step": step, "skipped": self.log.skip_at(first) is not None, "rows": rows}

    def of_rows(self, rows: range) -> list[dict[str, Any]]:
        """Return {row, source, epoch, num_tokens, seq_len, passages} of each; a passage has its document and tokens.

        `epoch` counts from 0 how often the source has been seen before; what `num_tokens` leaves of `seq_len` is
        padding. Raises ConfigError for a row that the run hasn't.
        """
        # rows that were skipped after trouble are made up for: a run may go beyond those of its settings
        last, found = self.log.first_row_of(self.num_steps + 1, self.rows_per_step) - 1, []
        if rows.start < 0 or rows.stop - 1 > last:
            raise ConfigError(f"sequence {rows.start} is not one of this run's: they are 0 to {last}")
        for row in rows:
            source, epoch, _ = self.batches.place_of(row)
            passages = [asdict(passage) for passage in self.batches.passages_of(row)]
            sizes = {"num_tokens": sum(each["num_targets"] for each in passages), "seq_len": self.batches.seq_len}
            found.append({"row": row, "source": source, "epoch": epoch, **sizes, "passages": passages})
        for source in {row["source"] for row in found if not row["source"].startswith(REPLAYED)}:
            passages = [passage for row in found if row["source"] == source for passage in row["passages"]]
            documents = find_documents(self.corpus, "train", source, {passage["document"] for passage in passages})
            for passage in passages:
                document = documents.get(passage["document"])
                passage["title"] = document.meta.get("title", "") if document else ""
        for passage in (passage for row in found for passage in row["passages"]):
            passage.setdefault("title", "")  # of text that is replayed, whose corpus is another run's
        return found
