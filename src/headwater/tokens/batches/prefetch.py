"""One background thread makes the batches of the next steps while the model works on this one's."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor

from headwater.tokens.batches.assemble import Batch
from headwater.tokens.batches.source import BatchSource, rank_rows

NUM_AHEAD = 2  # steps whose batches are made before they are needed


class StepRows:
    """One rank's microbatches of a run's steps; what making them raises is raised where they are needed."""

    def __init__(self, batches: BatchSource, step_rows: int, microbatch_rows: int, part: tuple[int, int]) -> None:
        """`part` is which part of a step's rows this rank has, and of how many."""
        self._batches, self._step_rows, self._microbatch_rows, self._part = batches, step_rows, microbatch_rows, part
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: dict[int, Future[list[Batch]]] = {}  # by the first row of a step

    def at(self, first_row: int) -> tuple[list[Batch], float]:
        """Return the microbatches of the step that begins with this row, and the seconds of waiting for them."""
        started_at = time.perf_counter()
        wanted = [first_row + number * self._step_rows for number in range(1 + NUM_AHEAD)]
        for row in self._ahead.keys() - wanted:  # of a run that went back: it continues with other rows
            self._ahead.pop(row).cancel()
        for row in wanted:
            if row not in self._ahead:
                self._ahead[row] = self._thread.submit(self._made, row)
        return self._ahead.pop(first_row).result(), time.perf_counter() - started_at

    def _made(self, first_row: int) -> list[Batch]:
        first, count = rank_rows(first_row, self._step_rows, *self._part)
        size = self._microbatch_rows
        return [self._batches.rows(row, size) for row in range(first, first + count, size)]

    def close(self) -> None:
        """Make nothing more, and wait until the thread has ended."""
        self._thread.shutdown(cancel_futures=True)
