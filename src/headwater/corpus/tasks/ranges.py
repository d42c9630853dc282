"""Ranges of 64-bit keys, so small that the rows of one fit into memory: the units of the search for duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile

ROWS_A_RANGE = 1 << 18  # with what sorting them takes, some 25 MB
MOST_TASKS = 1024  # for the keys of one kind: what tasks cost beside their work must not grow with the square


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys from `index` / `count` of all on, up to the next."""

    index: int
    count: int

    def rows_of(self, file: ArrayFile, table: str) -> np.ndarray:
        """Return the rows of a table whose keys are in this range."""
        return file.between(table, self.index * 2**64 // self.count, (self.index + 1) * 2**64 // self.count)


@dataclass(frozen=True, slots=True)
class KeyRanges:
    """The ranges that one task searches, one after another."""

    indexes: range
    count: int

    def __iter__(self) -> Iterator[KeyRange]:
        return (KeyRange(index, self.count) for index in self.indexes)


def cut_keys(num_rows: int) -> list[KeyRanges]:
    """Return the ranges of each task, for that many rows; keys are hashes, so ranges are alike."""
    count = max(1, -(-num_rows // ROWS_A_RANGE))
    num_tasks = min(count, MOST_TASKS)
    bounds = [task * count // num_tasks for task in range(num_tasks + 1)]
    return [KeyRanges(range(start, end), count) for start, end in pairwise(bounds)]
