"""Ranges of 64-bit keys, so small that the rows of one fit into memory: the units of the search for duplicates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile

ROWS_A_TASK = 1 << 18  # with what sorting them takes, some 25 MB


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys from `index` / `count` of all on, up to the next."""

    index: int
    count: int

    def slice_of(self, file: ArrayFile, name: str) -> slice:
        """Return where the keys of this range stand in a sorted array of a file."""
        keys = file.map(name)
        bounds = []
        for index in (self.index, self.index + 1):
            first = index * 2**64 // self.count
            bounds.append(len(keys) if first == 2**64 else int(np.searchsorted(keys, np.uint64(first))))
        return slice(*bounds)


def num_ranges(num_rows: int) -> int:
    """Return into how many ranges the keys of so many rows are cut; keys are hashes, so ranges are alike."""
    return max(1, -(-num_rows // ROWS_A_TASK))
