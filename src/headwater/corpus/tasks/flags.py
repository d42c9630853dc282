"""A byte for every candidate, by number: in files of bounded size, so that no process needs them all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile
from headwater.corpus.tasks.work import Output

# a large corpus has many files, and flags in no order want one after another opened; the leader holds one's flags
FLAGS_A_FILE = 1 << 24
_FILES_AT_HAND = 64


def flag_ranges(num_documents: int) -> Iterator[tuple[int, int]]:
    """Yield the first number and the end of each file's candidates, in order."""
    for start in range(0, num_documents, FLAGS_A_FILE):
        yield start, min(start + FLAGS_A_FILE, num_documents)


def write_flags(output: Output, start: int, flags: np.ndarray) -> None:
    """Write the flags of one of `flag_ranges`."""
    output.write_arrays({"flags": flags}, _file(start // FLAGS_A_FILE))


def _file(index: int) -> str:
    return f"flags-{index:05d}.bin"


class Flags:
    """The flags in a folder, as views of the disk; those that are being written may be read as far as they are."""

    def __init__(self, folder: Path) -> None:
        # not methods of its own: that would be a cycle, and files would stay open until it is collected
        headers = lru_cache(None)(lambda index: ArrayFile(folder / _file(index)))
        self._map = lru_cache(_FILES_AT_HAND)(lambda index: headers(index).map("flags"))

    def between(self, start: int, end: int) -> np.ndarray:
        """Return the flags of the candidates from `start` to `end` (not included)."""
        pieces = []
        while start < end:
            index, at = divmod(start, FLAGS_A_FILE)
            pieces.append(self._map(index)[at : at + end - start])
            start = (index + 1) * FLAGS_A_FILE
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, np.uint8), *pieces])

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the flags of candidates by their numbers, in any order.

        Many numbers together cost less each: a file is opened at most once, and a large corpus has many.
        """
        found = np.empty(len(numbers), dtype=np.uint8)
        indexes, places = np.divmod(numbers, np.uint64(FLAGS_A_FILE))
        order = np.argsort(indexes, kind="stable")
        indexes = indexes[order]
        bounds = [0, *(np.flatnonzero(np.diff(indexes)) + 1).tolist(), len(order)]
        for start, end in pairwise(bounds):
            if start < end:
                chosen = order[start:end]
                found[chosen] = self._map(int(indexes[start]))[places[chosen]]
        return found
