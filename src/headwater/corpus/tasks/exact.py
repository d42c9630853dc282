"""Exact duplicates: of all candidates with one digest the first stays. A task searches some ranges of digests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from headwater.corpus.tasks.arrays import differs_from_before, together
from headwater.corpus.tasks.results import Results, ResultWriter, found_flags
from headwater.corpus.tasks.runs import SLICE_ROWS, KeyRange, SortedRun, cut_keys
from headwater.corpus.tasks.segments import Flags, Segments
from headwater.corpus.tasks.work import Task, Work
from headwater.corpus.tasks.worker_context import WorkerContext

COPIES = np.dtype([("document", "<u8"), ("first", "<u8")])  # a copy, and the first candidate with its digest


def num_exact_tasks(segments: Segments) -> int:
    return len(cut_keys(segments.num_documents))


def find_copies(context: WorkerContext, number: int) -> None:
    """Do a task: write the numbers of the candidates whose digest an earlier one has, and of the first."""
    with context.work.new_output(Task("exact", number)) as output:
        writer = ResultWriter(output, COPIES)
        for keys in cut_keys(context.segments.num_documents)[number]:
            for copies, firsts in _copies(context.runs, keys):
                writer.add(copies, firsts)
        writer.close()


def _copies(runs: Iterable[SortedRun], keys: KeyRange) -> Iterator[np.ndarray]:
    """Yield the copies of a range, each with the first of its digest, in batches."""
    firsts = np.empty((3, 0), dtype=np.uint64)  # high, low and number of the first candidate with each digest

    def most_waiting() -> int:  # what is at hand grows by half before it is sorted again: copies never add to it
        return firsts.shape[1] // 2 + SLICE_ROWS

    slices = ((run, rows) for run in runs for rows in run.slices("exact", keys))
    pieces = (np.stack([rows["high"], rows["low"], run.numbers(rows)]) for run, rows in slices)
    for rows in together(pieces, most_waiting):
        firsts, found = _first_of_each(np.concatenate([firsts, rows], axis=1))
        yield found


def _first_of_each(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row with the lowest number of each digest, and the numbers of the others, each with that one's."""
    rows = rows[:, np.lexsort((rows[2], rows[1], rows[0]))]
    is_first = differs_from_before(rows[0], rows[1])
    firsts = rows[:, is_first]
    return firsts, np.stack([rows[2], firsts[2, np.cumsum(is_first) - 1]])[:, ~is_first]


def firsts_of_copies(found: Results, start: int, end: int) -> dict[int, int]:
    """Return, for each copy of a number in [start, end), the number of the first candidate with its digest."""
    firsts: dict[int, int] = {}
    for rows in found.pieces(start, end):
        firsts.update(zip(rows["document"].tolist(), rows["first"].tolist()))
    return firsts


def copy_flags(work: Work) -> Flags:
    """Return 1 for every candidate that is a copy."""
    return found_flags(work, "exact")
