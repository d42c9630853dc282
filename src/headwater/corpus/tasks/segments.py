"""How candidates are numbered: through all parts in their order, a part in segments of bounded size.

A segment's keys lie sorted in one file, so that the task of a range of keys reads only those: the search for
duplicates needs no exchange of data between processes, and no process ever holds more than a segment of a part.

exact          high, low, at      digests, each with the place of its document in the segment
band0, ...     key, at            of those that are compared for near duplicates
lines          key, at, site     of pages of the web: those that their site's pages may share
passages       key, at           of long documents
sites, text_bytes, left_bytes, split_hashes: one value a document; of a site 0 where there is none
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile
from headwater.corpus.tasks.work import Output, Task, Work

SEGMENT_DOCUMENTS = 1 << 16  # some 10 MB of keys
SEGMENT_LINES = 1 << 20  # 20 MB
DIGESTS = np.dtype([("high", "<u8"), ("low", "<u8"), ("at", "<u4")])
KEYS = np.dtype([("key", "<u8"), ("at", "<u4")])
LINE_KEYS = np.dtype([("key", "<u8"), ("at", "<u4"), ("site", "<u8")])
LINES, SITES, PASSAGES = "lines", "sites", "passages"
_FACTS = "segments"
# a large corpus has many files, and flags in no order want one after another opened; the leader holds one's flags
FLAGS_A_FILE = 1 << 24
_FILES_AT_HAND = 64


@dataclass(frozen=True, slots=True)
class Segment:
    """Documents `start` to `end` (not included), which are those of segment `index` of `part`."""

    part: int
    index: int
    start: int
    end: int


def segment_file(index: int) -> str:
    return f"segment-{index:05d}.bin"


class Segments:
    """The segments of a corpus, in the order of its documents."""

    def __init__(self, work: Work) -> None:
        self._work, arrays = work, work.arrays_of(_FACTS)
        self._parts, self._indexes, counts = (
            arrays.map(name).astype(np.int64) for name in ("parts", "indexes", "counts")
        )
        # the number of the first document of each segment, and the end of the last
        self.bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def num_keys(self, table: str) -> int:
        """Return how many lines of pages were noted, or passages of documents."""
        return int(self._work.facts_of(_FACTS)[table])

    @property
    def num_documents(self) -> int:
        return int(self.bounds[-1])

    @property
    def part_bounds(self) -> np.ndarray:
        """The number of the first document of each part, a part without documents that of the next; the end of all."""
        return self.bounds[np.searchsorted(self._parts, np.arange(len(self._work.plan.parts) + 1))]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Segment]:
        yield from (self[at] for at in range(len(self._parts)))

    def of_part(self, part: int) -> list[Segment]:
        first, end = np.searchsorted(self._parts, [part, part + 1])
        return [self[at] for at in range(int(first), int(end))]

    def of_document(self, number: int) -> Segment:
        return self[int(np.searchsorted(self.bounds, number, side="right")) - 1]

    def __getitem__(self, at: int) -> Segment:
        start, end = int(self.bounds[at]), int(self.bounds[at + 1])
        return Segment(int(self._parts[at]), int(self._indexes[at]), start, end)

    def arrays(self, segment: Segment) -> ArrayFile:
        return self._work.arrays_of("filter", segment.part, segment_file(segment.index))


def number_segments(work: Work) -> None:
    """Number all candidates, once every part is filtered."""
    if work.is_done(Task(_FACTS)):
        return
    rows = [
        (part.number, index, count)
        for part in work.plan.parts
        for index, count in enumerate(work.facts_of("filter", part.number)["segments"])
    ]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    with work.new_output(Task(_FACTS)) as output:
        output.write_arrays({"parts": table[:, 0], "indexes": table[:, 1], "counts": table[:, 2]})
        facts = [work.facts_of("filter", part.number) for part in work.plan.parts]
        output.facts = {name: sum(each[name] for each in facts) for name in (LINES, PASSAGES)}


def flag_ranges(num_documents: int) -> Iterator[tuple[int, int]]:
    """Yield the first number and the end of each file's candidates, in order."""
    for start in range(0, num_documents, FLAGS_A_FILE):
        yield start, min(start + FLAGS_A_FILE, num_documents)


def write_flags(output: Output, start: int, flags: np.ndarray) -> None:
    """Write the flags of one of `flag_ranges`."""
    output.write_arrays({"flags": flags}, _flags_file(start // FLAGS_A_FILE))


def _flags_file(index: int) -> str:
    return f"flags-{index:05d}.bin"


class Flags:
    """The flags in a folder, as views of the disk; those that are being written may be read as far as they are."""

    def __init__(self, folder: Path) -> None:
        # not methods of its own: that would be a cycle, and files would stay open until it is collected
        headers = lru_cache(None)(lambda index: ArrayFile(folder / _flags_file(index)))
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
