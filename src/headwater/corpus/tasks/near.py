"""Pairs of candidates that may be near duplicates: those that share the key of a band.

A task searches some bands, or some ranges of the keys of one band, and writes its pairs sorted by the later
document, so that whoever verifies a part finds its pairs together. A page is searched by the keys of its own text, too,
without the lines that its site's pages share.

A group that shares a key may be large (pages of one site), and its pairs are the square of it. A document is paired
with the first 16 of its group, where the one that is kept most likely is, and with the one just before it, which is
the closest where a text changes from version to version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from headwater.corpus.tasks.arrays import differs_from_before, together
from headwater.corpus.tasks.exact import copy_flags
from headwater.corpus.tasks.pages import PAGES, page_keys
from headwater.corpus.tasks.results import Results, ResultWriter
from headwater.corpus.tasks.runs import ROWS_A_RANGE, KeyRange, SortedRun, cut_keys
from headwater.corpus.tasks.segments import Flags, Segments
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext

FIRST_OF_GROUP = 16
PAIRS = np.dtype([("document", "<u8"), ("earlier", "<u8")])
_BATCH_ROWS = 1 << 17  # each gives 17 pairs at most, of which those of one rank are held
_NO_PAIRS = np.empty((2, 0), dtype=np.uint64)


def near_tasks(segments: Segments, num_bands: int) -> list[tuple[range, list[KeyRange]]]:
    """Return the tasks: some ranges of one band's keys, or several bands of a corpus that is one range."""
    cut = cut_keys(segments.num_documents)
    bands = max(1, ROWS_A_RANGE // max(segments.num_documents, 1)) if len(cut) == 1 else 1
    return [(range(first, min(first + bands, num_bands)), keys) for first in range(0, num_bands, bands) for keys in cut]


def find_pairs(context: WorkerContext, number: int) -> None:
    """Do a task: write the pairs that it finds."""
    bands, ranges = near_tasks(context.segments, context.settings.dedup.num_bands)[number]
    flags = copy_flags(context.work)
    with context.work.new_output(Task("near", number)) as output:
        writer = ResultWriter(output, PAIRS)
        for band in bands:
            for keys in ranges:
                own = page_keys(context.results(PAGES), band, *keys)
                for later, earlier in _pairs(_rows_of_band(context.runs, f"band{band}", keys, flags, own)):
                    writer.add(later, earlier)
        writer.close()


def pairs_of(found: Results, start: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs that any task found whose later document is in [start, end).

    Three columns, sorted: later, earlier, and the number of bands that both share.
    """
    columns = [np.stack([rows["document"], rows["earlier"]]) for rows in found.pieces(start, end)]
    later, earlier = np.concatenate([_NO_PAIRS, *columns], axis=1)
    order = np.lexsort((earlier, later))
    later, earlier = later[order], earlier[order]
    places = np.flatnonzero(differs_from_before(later, earlier))
    return later[places], earlier[places], np.diff(np.append(places, len(later)))


def _pairs(pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the pairs of rows of keys and numbers, later and earlier document, in pieces of bounded size."""
    known = _NO_PAIRS  # key and number of what later documents are paired with
    for rows in together(pieces, lambda: _BATCH_ROWS):
        groups = _Groups(known, rows)
        known = groups.known()
        yield from groups.pairs()


def _rows_of_band(
    runs: Iterable[SortedRun], band: str, keys: KeyRange, flags: Flags, own: np.ndarray = _NO_PAIRS
) -> Iterator[np.ndarray]:
    """Yield the keys and numbers of candidates that are no exact copies, a slice of a run at a time.

    `own` are those of pages' own text; each run's come before its others.
    """
    for run in runs:
        yield own[:, (own[1] >= run.start) & (own[1] < run.end)]
        for rows in run.slices(band, keys):
            numbers = run.numbers(rows)
            is_first = flags.of(numbers) == 0
            yield np.stack([rows["key"][is_first], numbers[is_first]])


class _Groups:
    """Rows by key, those of one in the order of the documents; some are known from before."""

    def __init__(self, known: np.ndarray, new: np.ndarray) -> None:
        rows = np.concatenate([known, new], axis=1)
        order = np.lexsort((rows[1], rows[0]))
        # a page whose own text has the key of the whole is one row
        order = order[differs_from_before(*rows[:, order])]
        self._rows = rows[:, order]
        self._is_new = order >= known.shape[1]
        keys = self._rows[0]
        places = np.arange(len(keys))
        self._is_start = differs_from_before(keys)
        self._starts = np.maximum.accumulate(np.where(self._is_start, places, 0))
        self._ranks = places - self._starts  # of those known and new: of those skipped none is needed

    def pairs(self) -> Iterator[np.ndarray]:
        """Yield the pairs of new rows with rows before them, those with the rows of one rank together."""
        numbers, ranks = self._rows[1], self._ranks
        for rank in range(min(FIRST_OF_GROUP, int(ranks.max(initial=0)))):
            at = np.flatnonzero(self._is_new & (ranks > rank))
            yield np.stack([numbers[at], numbers[self._starts[at] + rank]])
        at = np.flatnonzero(self._is_new & (ranks > FIRST_OF_GROUP))
        yield np.stack([numbers[at], numbers[at - 1]])

    def known(self) -> np.ndarray:
        """Return what later rows are to be paired with: the first of every group and its last."""
        is_last = np.append(self._is_start[1:], True)
        return self._rows[:, (self._ranks < FIRST_OF_GROUP) | is_last]
