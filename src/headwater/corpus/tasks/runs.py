"""Where the search for duplicates finds the candidates' keys: in runs, each of consecutive documents.

In a small corpus every segment is a run. In a large one segments were merged first (tasks.run), since a task of the
search opens all runs: the number of tasks grows with the corpus, that of runs must not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile
from headwater.corpus.tasks.merge import MergePlan
from headwater.corpus.tasks.segments import Segments
from headwater.corpus.tasks.work import Work

ROWS_A_RANGE = 1 << 18  # with what sorting them takes, some 25 MB
MOST_TASKS = 1024  # for the keys of one kind: what tasks cost beside their work must not grow with the square


KeyRange = tuple[int, int]  # the lowest key, and the first above


def cut_keys(num_rows: int) -> list[list[KeyRange]]:
    """Return the ranges that each task searches, for that many rows; keys are hashes, so ranges are alike."""
    count = max(1, -(-num_rows // ROWS_A_RANGE))
    ranges = list(pairwise(index * 2**64 // count for index in range(count + 1)))
    num_tasks = min(count, MOST_TASKS)
    bounds = pairwise(task * count // num_tasks for task in range(num_tasks + 1))
    return [ranges[start:end] for start, end in bounds]


MERGE_KEYS = "merge_keys"
SLICE_ROWS = 1 << 16  # that are looked at together: a run may have a hundred million rows of one key


@dataclass(frozen=True)
class SortedRun:
    """The keys of documents `start` to `end` (not included): tables of keys, with places counted from `start`."""

    start: int
    end: int
    file: ArrayFile

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the documents in rows of one of the tables."""
        return rows["at"].astype(np.uint64) + np.uint64(self.start)

    def slices(self, table: str, keys: KeyRange) -> Iterator[np.ndarray]:
        """Yield the rows of a table, if there is one, whose keys are in a range: SLICE_ROWS at a time, in their order.

        Rows of one key may lie in several slices; those of earlier documents come first.
        """
        if table in self.file:
            rows = self.file.between(table, *keys)
            for start in range(0, len(rows), SLICE_ROWS):
                yield rows[start : start + SLICE_ROWS]


class SortedRuns:
    """The runs of a corpus, in the order of its documents."""

    def __init__(self, work: Work, segments: Segments) -> None:
        self._work, self._segments = work, segments
        self.plan = MergePlan(len(segments))

    def of_level(self, level: int, index: int) -> SortedRun:
        """Return a run: of level 0 it is a segment."""
        start, end = (int(self._segments.bounds[at]) for at in self.plan.origins(level, index))
        if level == 0:
            return SortedRun(start, end, self._segments.arrays(self._segments[index]))
        return SortedRun(start, end, self._work.arrays_of(MERGE_KEYS, self.plan.tasks(level)[index]))

    @cached_property
    def _last(self) -> list[SortedRun]:
        return [self.of_level(self.plan.num_levels, index) for index in range(self.plan.num_files)]

    def __iter__(self) -> Iterator[SortedRun]:
        return iter(self._last)
