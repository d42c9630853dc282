"""Exact duplicates: of all candidates with one digest the first stays. A task looks at one range of digests."""

from __future__ import annotations

import numpy as np

from headwater.corpus.tasks.bench import Bench
from headwater.corpus.tasks.ranges import KeyRange, num_ranges
from headwater.corpus.tasks.segments import Segments
from headwater.corpus.tasks.work import Task, Work

_FACTS = "copies"


def num_exact_tasks(segments: Segments) -> int:
    return num_ranges(segments.num_documents)


def find_copies(bench: Bench, number: int) -> None:
    """Do the task of a range: write the numbers of the candidates whose digest an earlier one has, and of the first."""
    keys = KeyRange(number, num_exact_tasks(bench.segments))
    firsts = np.empty((3, 0), dtype=np.uint64)  # high, low and number of the first candidate with each digest
    copies = [np.empty((2, 0), dtype=np.uint64)]  # number of a copy, and of the first with its digest
    waiting: list[np.ndarray] = []
    for segment in bench.segments:
        file = bench.segments.arrays(segment)
        if "exact.high" not in file:
            continue
        rows = keys.slice_of(file, "exact.high")
        numbers = file.map("exact.at")[rows].astype(np.uint64) + np.uint64(segment.start)
        waiting.append(np.stack([file.map("exact.high")[rows], file.map("exact.low")[rows], numbers]))
        # what is at hand grows by half before it is sorted again: copies never add to it
        if sum(part.shape[1] for part in waiting) > firsts.shape[1] // 2 + 65_536:
            firsts, found = _first_of_each(np.concatenate([firsts, *waiting], axis=1))
            copies.append(found)
            waiting = []
    copies.append(_first_of_each(np.concatenate([firsts, *waiting], axis=1))[1])
    found = np.concatenate(copies, axis=1)
    found = found[:, np.argsort(found[0])]
    with bench.work.new_output(Task("exact", number)) as output:
        output.write_arrays({"copies": found[0], "firsts": found[1]})


def _first_of_each(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row with the lowest number of each digest, and the numbers of the others, each with that one's."""
    rows = rows[:, np.lexsort((rows[2], rows[1], rows[0]))]
    is_copy = np.zeros(rows.shape[1], dtype=bool)
    is_copy[1:] = (rows[0, 1:] == rows[0, :-1]) & (rows[1, 1:] == rows[1, :-1])
    firsts = rows[:, ~is_copy]
    return firsts, np.stack([rows[2], firsts[2, np.cumsum(~is_copy) - 1]])[:, is_copy]


def mark_copies(work: Work, segments: Segments, num_tasks: int) -> None:
    """Write which candidates are copies, as `num_tasks` tasks found: a byte each, for the tasks that follow."""
    if work.has_facts(_FACTS):
        return
    marks = np.zeros(segments.num_documents, dtype=np.uint8)
    for number in range(num_tasks):
        marks[work.arrays_of("exact", number).map("copies")] = 1
    with work.new_facts(_FACTS) as output:
        output.write_arrays({"is_copy": marks})


def firsts_of_copies(work: Work, num_tasks: int, start: int, end: int) -> dict[int, int]:
    """Return, for each copy of a number in [start, end), the number of the first candidate with its digest."""
    found: dict[int, int] = {}
    for number in range(num_tasks):
        file = work.arrays_of("exact", number)
        copies = file.map("copies")
        place = slice(*np.searchsorted(copies, np.array([start, end], dtype=np.uint64)))
        found.update(zip(copies[place].tolist(), file.map("firsts")[place].tolist()))
    return found


def copy_marks(work: Work) -> np.ndarray:
    """Return 1 for every candidate that is a copy, as a view of the disk."""
    return work.arrays(_FACTS).map("is_copy")
