"""What the tasks of a search find about documents: tables sorted by document, so that whoever needs those of some
documents finds them together.

Every task writes files of bounded size. Where that makes many of them, tasks of a further stage merge them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile
from headwater.corpus.tasks.merge import MergePlan
from headwater.corpus.tasks.segments import Flags, Segments, flag_ranges, write_flags
from headwater.corpus.tasks.work import Output, Task, Work

ROWS_A_FILE = 1 << 20
TABLE = "rows"


class ResultWriter:
    """Writes what a task finds to its output, and how many files that makes to its facts."""

    def __init__(self, output: Output, dtype: np.dtype) -> None:
        self._output = output
        self._dtype = dtype
        self._waiting: list[np.ndarray] = []
        self._num_waiting = 0
        self._num_files = 0

    def add(self, *columns: np.ndarray) -> None:
        """Add rows, a column a field; they are sorted by the first, a document's number or a key."""
        if len(columns[0]):
            self._waiting.append(table_of(self._dtype, *columns))
            self._num_waiting += len(columns[0])
            if self._num_waiting > ROWS_A_FILE:
                self._write()

    def _write(self) -> None:
        rows = np.concatenate(self._waiting)
        # by all fields, so that the bytes don't depend on the order in which they were found
        fields = self._dtype.names or ()
        order = np.lexsort([np.ascontiguousarray(rows[name]) for name in reversed(fields)])
        self._output.write_arrays({TABLE: rows[order]}, _file(self._num_files))
        self._waiting, self._num_waiting = [], 0
        self._num_files += 1

    def close(self) -> None:
        if self._waiting:
            self._write()
        self._output.facts = {"files": self._num_files}


def table_of(dtype: np.dtype, *columns: np.ndarray) -> np.ndarray:
    """Return columns as records."""
    rows = np.empty(len(columns[0]), dtype)
    for name, column in zip(dtype.names or (), columns, strict=True):
        rows[name] = column
    return rows


def _file(index: int) -> str:
    return f"results-{index:05d}.bin"


def _facts(stage: str) -> str:
    return f"results-{stage}"


def merging(stage: str) -> str:
    """Return the stage that merges what `stage` found."""
    return f"merge_{stage}"


def list_results(work: Work, stage: str, numbers: Sequence[int]) -> None:
    """Write down which files the tasks of a stage made, once all are done."""
    if work.is_done(Task(_facts(stage))):
        return
    counts = [work.facts_of(stage, number)["files"] for number in numbers]
    tasks = np.repeat(np.array(numbers, dtype=np.int64), counts)
    indexes = np.concatenate([np.empty(0, np.int64), *(np.arange(count) for count in counts if count)])
    with work.new_output(Task(_facts(stage))) as output:
        output.write_arrays({"tasks": tasks, "indexes": indexes.astype(np.int64)})


def mark_found(work: Work, stage: str, num_documents: int) -> None:
    """Write about which documents a stage found something, once its results can be read."""
    if work.is_done(Task(_found(stage))):
        return
    found = Results(work, stage)
    with work.new_output(Task(_found(stage))) as output:
        for start, end in flag_ranges(num_documents):
            write_flags(output, start, found.flags(start, end))


def parts_found(work: Work, segments: Segments, stage: str) -> list[int]:
    """Return the parts with a document about which a stage found something."""
    flags = found_flags(work, stage)
    return [
        part
        for part, (start, end) in enumerate(pairwise(segments.part_bounds.tolist()))
        if flags.between(start, end).any()
    ]


def _found(stage: str) -> str:
    return f"found-{stage}"


def found_flags(work: Work, stage: str) -> Flags:
    """Return 1 for every document about which a stage found something."""
    return Flags(work.path_of(_found(stage)))


class Results:
    """All that the tasks of a stage found, in few files; readable once `list_results` and the merging are done."""

    def __init__(self, work: Work, stage: str) -> None:
        self._work, self._stage = work, stage
        listed = work.arrays_of(_facts(stage))
        self._tasks, self._indexes = (listed.map(name) for name in ("tasks", "indexes"))
        self.plan = MergePlan(len(self._tasks))

    @cached_property
    def _last(self) -> list[ArrayFile]:
        return [self.file(self.plan.num_levels, index) for index in range(self.plan.num_files)]

    def file(self, level: int, index: int) -> ArrayFile:
        """Return a file: of level 0 one that a task of the search made."""
        if level == 0:
            return self._work.arrays_of(self._stage, int(self._tasks[index]), _file(int(self._indexes[index])))
        return self._work.arrays_of(merging(self._stage), self.plan.tasks(level)[index])

    def flags(self, start: int, end: int) -> np.ndarray:
        """Return 1 for each document from `start` to `end` (not included) about which something was found."""
        flags = np.zeros(end - start, dtype=np.uint8)
        for rows in self.pieces(start, end):
            flags[rows["document"] - np.uint64(start)] = 1
        return flags

    def pieces(self, start: int, end: int) -> Iterator[np.ndarray]:
        """Yield the rows of documents (or keys) `start` to `end` (not included), as tables that view the disk."""
        for file in self._last:
            rows = file.between(TABLE, start, end)
            if len(rows):
                yield rows
