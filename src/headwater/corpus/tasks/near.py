"""Pairs of candidates that may be near duplicates: those that share the key of a band.

A task looks at some bands, or at one range of the keys of one band, and writes its pairs sorted by the later document,
so that whoever verifies a part finds its pairs together.

A group that shares a key may be large (pages of one site), and its pairs are the square of it. A document is paired
with the first 16 of its group, where the one that is kept most likely is, and with the one just before it, which is
the closest where a text changes from version to version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headwater.corpus.tasks.bench import Bench
from headwater.corpus.tasks.exact import copy_marks
from headwater.corpus.tasks.ranges import ROWS_A_TASK, KeyRange, num_ranges
from headwater.corpus.tasks.segments import Segment, Segments
from headwater.corpus.tasks.work import Output, Task, Work

FIRST_OF_GROUP = 16
_BATCH_ROWS = 1 << 17  # a batch may give 17 pairs a row: 36 MB
_PAIRS_A_FILE = 1 << 21
_NO_PAIRS = np.empty((2, 0), dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class NearTask:
    """The keys of `keys` in some bands."""

    bands: range
    keys: KeyRange


def near_tasks(segments: Segments, num_bands: int) -> list[NearTask]:
    """Return the tasks, each of about ROWS_A_TASK rows: several bands of a small corpus, a part of one of a large."""
    count = num_ranges(segments.num_documents)
    if count > 1:
        ranges = [KeyRange(index, count) for index in range(count)]
        return [NearTask(range(band, band + 1), keys) for band in range(num_bands) for keys in ranges]
    bands = max(1, ROWS_A_TASK // max(segments.num_documents, 1))
    return [
        NearTask(range(first, min(first + bands, num_bands)), KeyRange(0, 1)) for first in range(0, num_bands, bands)
    ]


def find_pairs(bench: Bench, number: int) -> None:
    """Do a task: write the pairs that it finds, in files sorted by the later document."""
    task = near_tasks(bench.segments, bench.settings.dedup.num_bands)[number]
    marks = copy_marks(bench.work)
    with bench.work.new_output(Task("near", number)) as output:
        waiting, num_files = list[np.ndarray](), 0
        for band in task.bands:
            for pairs in _pairs_of_band(bench.segments, band, task.keys, marks):
                waiting.append(pairs)
                if sum(each.shape[1] for each in waiting) > _PAIRS_A_FILE:
                    _write_pairs(output, num_files, waiting)
                    waiting, num_files = [], num_files + 1
        _write_pairs(output, num_files, waiting)
        output.facts = {"files": num_files + 1}


def _write_pairs(output: Output, file: int, pairs: list[np.ndarray]) -> None:
    later, earlier = np.concatenate([_NO_PAIRS, *pairs], axis=1)
    order = np.lexsort((earlier, later))
    output.write_arrays({"later": later[order], "earlier": earlier[order]}, pair_file(file))


def pair_file(number: int) -> str:
    return f"pairs-{number:05d}.bin"


def pairs_of(work: Work, num_tasks: int, start: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs that any task found whose later document is in [start, end).

    Three columns, sorted: later, earlier, and the number of bands that both share.
    """
    found = [_NO_PAIRS]
    for number in range(num_tasks):
        for index in range(work.facts_of("near", number)["files"]):
            file = work.arrays_of("near", number, pair_file(index))
            later = file.map("later")
            first, last = np.searchsorted(later, np.array([start, end], dtype=np.uint64))
            found.append(np.stack([later[first:last], file.map("earlier")[first:last]]))
    later, earlier = np.concatenate(found, axis=1)
    order = np.lexsort((earlier, later))
    later, earlier = later[order], earlier[order]
    is_new = np.ones(len(later), dtype=bool)
    is_new[1:] = (later[1:] != later[:-1]) | (earlier[1:] != earlier[:-1])
    places = np.flatnonzero(is_new)
    return later[places], earlier[places], np.diff(np.append(places, len(later)))


def _pairs_of_band(segments: Segments, band: int, keys: KeyRange, marks: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the pairs of a band, later and earlier document, in batches."""
    known = _NO_PAIRS  # key and number of what later documents are paired with
    waiting: list[np.ndarray] = []
    for segment in segments:
        waiting.append(_rows_of_segment(segments, segment, band, keys, marks))
        if sum(rows.shape[1] for rows in waiting) > _BATCH_ROWS:
            pairs, known = _pair(known, np.concatenate(waiting, axis=1))
            waiting = []
            yield pairs
    if waiting:
        yield _pair(known, np.concatenate(waiting, axis=1))[0]


def _rows_of_segment(segments: Segments, segment: Segment, band: int, keys: KeyRange, marks: np.ndarray) -> np.ndarray:
    """Return the keys and numbers of a segment's candidates that are no exact copies."""
    file = segments.arrays(segment)
    if f"band{band}.key" not in file:
        return _NO_PAIRS
    place = keys.slice_of(file, f"band{band}.key")
    numbers = file.map(f"band{band}.at")[place].astype(np.uint64) + np.uint64(segment.start)
    is_first = marks[numbers] == 0
    return np.stack([file.map(f"band{band}.key")[place][is_first], numbers[is_first]])


def _pair(known: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of new rows with known and new ones before them, and what later rows are to be paired with."""
    rows = np.concatenate([known, new], axis=1)
    is_new = np.repeat([False, True], [known.shape[1], new.shape[1]])
    order = np.lexsort((rows[1], rows[0]))
    (keys, numbers), is_new = rows[:, order], is_new[order]
    places = np.arange(len(keys))
    is_start = np.ones(len(keys), dtype=bool)
    is_start[1:] = keys[1:] != keys[:-1]
    starts = np.maximum.accumulate(np.where(is_start, places, 0))
    ranks = places - starts
    pairs = []
    for rank in range(min(FIRST_OF_GROUP, int(ranks.max(initial=0)))):
        at = np.flatnonzero(is_new & (ranks > rank))
        pairs.append(np.stack([numbers[at], numbers[starts[at] + rank]]))
    at = np.flatnonzero(is_new & (ranks > FIRST_OF_GROUP))
    pairs.append(np.stack([numbers[at], numbers[at - 1]]))
    is_last = np.append(is_start[1:], True)
    kept = (ranks < FIRST_OF_GROUP) | is_last
    return np.concatenate(pairs, axis=1), np.stack([keys[kept], numbers[kept]])
