"""Sorted tables merged, and in how many steps: the upper levels of an external sort.

Looking something up in every file costs files times lookups, both of which grow with the corpus. Merged in levels
until few files are left, each row is copied once a level, and a lookup opens as many files whatever the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile

MOST_FILES = 256  # that a lookup opens: fewer would be merged with more work than they save
MOST_MERGED = 128  # by one task: it reads some 2,000 rows of each at a time
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


class _Window:
    """The rows of a table that are looked at together; they are read again only where some were taken."""

    def __init__(self, table: Table, num_rows: int) -> None:
        self._table, self._num_rows, self._place = table, num_rows, 0
        self._read()

    def _read(self) -> None:
        self._rows = self._table.rows(self._place, self._place + self._num_rows)
        self.keys = _keys(self._rows)

    @property
    def has_more(self) -> bool:
        """Whether the table has rows after these."""
        return self._place + len(self._rows) < self._table.num_rows

    def take_below(self, key: np.uint64) -> np.ndarray:
        """Return the rows below a key, which are passed then."""
        return self._take(int(np.searchsorted(self.keys, key)) if len(self.keys) and self.keys[0] < key else 0)

    def take_all(self) -> np.ndarray:
        return self._take(len(self._rows))

    def take_key(self, key: np.uint64) -> Iterator[np.ndarray]:
        """Yield the rows of a key, in pieces; there is none below it."""
        while len(self.keys) and self.keys[0] == key:
            yield self._take(int(np.searchsorted(self.keys, key, side="right")))

    def _take(self, count: int) -> np.ndarray:
        taken = self._rows[:count]
        if count:
            self._place += count
            self._read()
        return taken


def merged(tables: Sequence[Table]) -> Iterator[np.ndarray]:
    """Yield the rows of tables of one type as one table, in pieces: equal ones stay in the order of the tables.

    What is held are some ROWS_AT_ONCE rows, whatever the keys are.
    """
    size = max(1, ROWS_AT_ONCE // max(1, len(tables)))
    windows = [_Window(table, size) for table in tables]
    while any(len(window.keys) for window in windows):
        lasts = [window.keys[-1] for window in windows if window.has_more]
        if not lasts:
            yield _sorted([window.take_all() for window in windows])
            return
        # rows below the last one seen of every table that has more are all here
        lowest = min(lasts)
        pieces = [rows for window in windows if len(rows := window.take_below(lowest))]
        if pieces:
            yield _sorted(pieces)
            continue
        # one key fills a window: its rows lie in order already, table after table
        for window in windows:
            yield from window.take_key(lowest)


def _keys(rows: np.ndarray) -> np.ndarray:
    assert rows.dtype.names
    return np.ascontiguousarray(rows[rows.dtype.names[0]])


def _sorted(pieces: Sequence[np.ndarray]) -> np.ndarray:
    rows = np.concatenate(pieces)
    return rows[np.argsort(_keys(rows), kind="stable")]


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
