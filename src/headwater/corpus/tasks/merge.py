"""Sorted tables merged, and in how many steps: the upper levels of an external sort.

Looking something up in every file costs files times lookups, both of which grow with the corpus. Merged in levels
until few files are left, each row is copied once a level, and a lookup opens as many files whatever the corpus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile

MOST_FILES = 256  # that a lookup opens: fewer would be merged with more work than they save
MOST_MERGED = 128  # by one task: it takes some 2,000 rows of each at a time
ROWS_AT_ONCE = 1 << 18  # with what sorting them takes, some 20 MB


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a file; `shift` is what the place of its documents, in the field `at`, is counted on from."""

    file: ArrayFile
    name: str
    shift: int = 0

    @property
    def num_rows(self) -> int:
        return self.file.num_rows(self.name)

    def rows(self, start: int, end: int) -> np.ndarray:
        rows = self.file.map(self.name, start, end)
        if self.shift:
            rows = rows.copy()
            rows["at"] += np.uint32(self.shift)
        return rows

    def place_of(self, key: int, start: int, end: int) -> int:
        """Return the first of rows `start` to `end` (not included) whose key is not below `key`, or the end."""
        if start == end:
            return end
        return start + bisect_left(_keys(self.file.map(self.name, start, end)), key)


def merged(tables: Sequence[Table]) -> Iterator[np.ndarray]:
    """Yield the rows of tables of one type as one table, in pieces: equal ones stay in the order of the tables.

    The range of keys is halved until no more than ROWS_AT_ONCE rows are in it: that many are held, whatever the keys.
    """
    waiting = [(0, 2**64, [(0, table.num_rows) for table in tables])]
    while waiting:
        low, high, spans = waiting.pop()
        num_rows = sum(end - start for start, end in spans)
        if 0 < num_rows <= ROWS_AT_ONCE:
            rows = np.concatenate([table.rows(*span) for table, span in zip(tables, spans)])
            yield rows[np.argsort(_keys(rows), kind="stable")]
        elif num_rows and high - low == 1:  # of one key: they lie in order already, table after table
            for table, (start, end) in zip(tables, spans):
                yield from (table.rows(at, min(at + ROWS_AT_ONCE, end)) for at in range(start, end, ROWS_AT_ONCE))
        elif num_rows:
            middle = (low + high) // 2
            cuts = [table.place_of(middle, *span) for table, span in zip(tables, spans)]
            waiting.append((middle, high, [(cut, end) for cut, (_, end) in zip(cuts, spans)]))
            waiting.append((low, middle, [(start, cut) for cut, (start, _) in zip(cuts, spans)]))


def _keys(rows: np.ndarray) -> np.ndarray:
    assert rows.dtype.names
    return rows[rows.dtype.names[0]]


class MergePlan:
    """Which files are merged, level by level, until no more than MOST_FILES are left; few enough are left alone.

    Files are counted within their level: those to begin with are level 0. The tasks of all levels are numbered through.
    """

    def __init__(self, num_files: int) -> None:
        num_levels = 0
        while num_files > MOST_FILES * MOST_MERGED**num_levels:
            num_levels += 1
        # as few at a time as this number of levels allows, so that there are tasks enough for all workers
        self._fan_in = 1
        while num_files > MOST_FILES * self._fan_in**num_levels:
            self._fan_in += 1
        self._counts = [num_files]
        for _ in range(num_levels):
            self._counts.append(-(-self._counts[-1] // self._fan_in))

    @property
    def num_levels(self) -> int:
        return len(self._counts) - 1

    @property
    def num_files(self) -> int:
        """How many files are left in the end."""
        return self._counts[-1]

    def tasks(self, level: int) -> range:
        """Return the numbers of the tasks that make the files of a level, from 1 on."""
        first = sum(self._counts[1:level])
        return range(first, first + self._counts[level])

    def inputs(self, number: int) -> tuple[int, range]:
        """Return what a task merges: a level, and consecutive files of it."""
        level = next(level for level in range(1, len(self._counts)) if number in self.tasks(level))
        first = (number - self.tasks(level).start) * self._fan_in
        return level - 1, range(first, min(first + self._fan_in, self._counts[level - 1]))

    def origins(self, level: int, index: int) -> tuple[int, int]:
        """Return the first of the files to begin with that are in a file of a level, and the end of them."""
        width = self._fan_in**level
        return index * width, min((index + 1) * width, self._counts[0])
