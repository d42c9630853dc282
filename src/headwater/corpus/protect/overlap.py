"""Which runs of words a text shares with a collection of items: a sorted array of hashes behind a table of bits.

A hash of 64 bits is taken at its word. A corpus of 10^12 words against 10^7 runs meets by chance 10^12 × 10^7 / 2^64 =
0.5 times, and costs a sentence then; comparing the texts themselves would keep every evaluation set in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from headwater.corpus.words import runs_of

MAX_NAMED = 64  # items of one run, the first: a set's template is in all of them, and a text may hold it often
_BITS_PER_RUN = 4  # 2 to the power of it: then one run in 16 passes the bits for nothing, at 2 bytes a run of memory


@dataclass(frozen=True, slots=True)
class Shared:
    """Words [first, last) of a text stand in `item` too."""

    first: int
    last: int
    item: int


class _Table:
    """The runs of one length, sorted, each with its item; `bits` says quickly that a run is none of them."""

    def __init__(self, hashes: np.ndarray, items: np.ndarray, max_named: int) -> None:
        order = np.lexsort((items, hashes))
        hashes, items = hashes[order], items[order]
        is_new = np.ones(len(hashes), dtype=bool)  # an item of several texts may hold a run in more than one
        is_new[1:] = (hashes[1:] != hashes[:-1]) | (items[1:] != items[:-1])
        hashes, items = hashes[is_new], items[is_new]
        is_named = np.ones(len(hashes), dtype=bool)
        is_named[max_named:] = hashes[max_named:] != hashes[:-max_named]
        self._hashes, self._items = hashes[is_named], items[is_named]
        num_bits = max(int(len(hashes) - 1).bit_length() + _BITS_PER_RUN, 6)
        self._shift = np.uint64(64 - num_bits)
        self._bits = np.zeros(1 << (num_bits - 3), dtype=np.uint8)
        place = self._hashes >> self._shift
        np.bitwise_or.at(self._bits, place >> np.uint64(3), np.uint8(1) << (place & np.uint64(7)).astype(np.uint8))

    def find(self, runs: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield (place in `runs`, item) for every run that is in the table."""
        place = runs >> self._shift
        bit = self._bits[place >> np.uint64(3)] & (np.uint8(1) << (place & np.uint64(7)).astype(np.uint8))
        likely = np.flatnonzero(bit)
        first = np.searchsorted(self._hashes, runs[likely], side="left")
        last = np.searchsorted(self._hashes, runs[likely], side="right")
        for at in np.flatnonzero(first < last).tolist():
            for item in self._items[first[at] : last[at]].tolist():
                yield int(likely[at]), item


class OverlapIndex:
    """Finds the runs of words that a text shares with the items.

    Nearly all texts share none. They are told by what their runs begin with: as many words as the shortest run has.
    """

    def __init__(self, texts: Iterable[tuple[int, np.ndarray]], ngram_words: int, max_named: int = MAX_NAMED) -> None:
        """Index (item, word hashes of one of its texts); a text of fewer than `ngram_words` words is one run."""
        found = [(item, hashes, min(ngram_words, len(hashes))) for item, hashes in texts if len(hashes)]
        self._shortest = min((length for _, _, length in found), default=0)
        runs: dict[int, list[np.ndarray]] = {}
        items: dict[int, list[np.ndarray]] = {}
        beginnings = [np.empty(0, dtype=np.uint64)]
        for item, hashes, length in found:
            made = runs_of(hashes, length)
            beginnings.append(runs_of(hashes, self._shortest)[: len(made)])
            unique = np.unique(made)
            runs.setdefault(length, []).append(unique)
            items.setdefault(length, []).append(np.full(len(unique), item, dtype=np.int64))
        unique = np.unique(np.concatenate(beginnings))
        self._beginnings = _Table(unique, np.zeros(len(unique), dtype=np.int64), max_named)
        self._tables = {
            length: _Table(np.concatenate(runs[length]), np.concatenate(items[length]), max_named)
            for length in sorted(runs)
        }

    def find(self, hashes: np.ndarray) -> list[Shared]:
        """Return what a text, by its words' hashes, shares with the items: of one run the first `max_named`."""
        found: list[Shared] = []
        if not any(self._beginnings.find(runs_of(hashes, self._shortest))):
            return found
        for length, table in self._tables.items():
            found += [Shared(at, at + length, item) for at, item in table.find(runs_of(hashes, length))]
        return found
