"""Which runs of words a text shares with a collection of items: a sorted array of hashes behind a table of bits.

A hash of 64 bits is taken at its word. A corpus of 10^12 words against 10^7 runs meets by chance 10^12 × 10^7 / 2^64 =
0.5 times, and costs a sentence then; comparing the texts themselves would keep every evaluation set in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MAX_NAMED = 64  # items of one run, the first: a set's template is in all of them, and a text may hold it often
_BITS_PER_RUN = 4  # 2 to the power of it: then one run in 16 passes the bits for nothing, at 2 bytes a run of memory


def runs_of(hashes: np.ndarray, lengths: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (length, hash of every run of that many words) for each of the rising `lengths` that the text reaches.

    The longer runs are made from the shorter, so all lengths cost what the longest does.
    """
    value, have = hashes.copy(), 1
    for length in lengths:
        if length > len(hashes):
            return
        for offset in range(have, length):
            value = value[:-1] * _MULTIPLIER
            value ^= value >> np.uint64(29)  # without it the runs (a, b) and (b, a) of a linear hash are related
            value += hashes[offset:]
        have = length
        yield length, value


@dataclass(frozen=True, slots=True)
class Shared:
    """Words [first, last) of a text stand in `item` too."""

    first: int
    last: int
    item: int


class _Table:
    """The runs of one length, sorted, each with its item; `bits` says quickly that a run is none of them."""

    def __init__(self, hashes: np.ndarray, items: np.ndarray) -> None:
        order = np.lexsort((items, hashes))
        hashes, items = hashes[order], items[order]
        is_new = np.ones(len(hashes), dtype=bool)  # an item of several texts may hold a run in more than one
        is_new[1:] = (hashes[1:] != hashes[:-1]) | (items[1:] != items[:-1])
        hashes, items = hashes[is_new], items[is_new]
        is_named = np.ones(len(hashes), dtype=bool)
        is_named[_MAX_NAMED:] = hashes[_MAX_NAMED:] != hashes[:-_MAX_NAMED]
        self._hashes, self._items = hashes[is_named], items[is_named]
        num_bits = max(int(len(hashes) - 1).bit_length() + _BITS_PER_RUN, 6)
        self._shift = np.uint64(64 - num_bits)
        self._bits = np.zeros(1 << (num_bits - 3), dtype=np.uint8)
        place = self._hashes >> self._shift
        np.bitwise_or.at(self._bits, place >> np.uint64(3), np.uint8(1) << (place & np.uint64(7)).astype(np.uint8))

    def find(self, runs: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield (place in `runs`, item) for every run that is in the table."""
        place = runs >> self._shift
        bit = self._bits[place >> np.uint64(3)] >> (place & np.uint64(7)).astype(np.uint8)
        likely = np.flatnonzero(bit & np.uint8(1))
        first = np.searchsorted(self._hashes, runs[likely], side="left")
        last = np.searchsorted(self._hashes, runs[likely], side="right")
        for at in np.flatnonzero(first < last).tolist():
            for item in self._items[first[at] : last[at]].tolist():
                yield int(likely[at]), item


class OverlapIndex:
    """Finds the runs of words that a text shares with the items."""

    def __init__(self, texts: Iterable[tuple[int, np.ndarray]], ngram_words: int) -> None:
        """Index (item, word hashes of one of its texts); a text of fewer than `ngram_words` words is one run."""
        runs: dict[int, list[np.ndarray]] = {}
        items: dict[int, list[np.ndarray]] = {}
        for item, hashes in texts:
            for length, found in runs_of(hashes, [min(ngram_words, len(hashes))] if len(hashes) else []):
                unique = np.unique(found)
                runs.setdefault(length, []).append(unique)
                items.setdefault(length, []).append(np.full(len(unique), item, dtype=np.int64))
        self._tables = {
            length: _Table(np.concatenate(runs[length]), np.concatenate(items[length])) for length in sorted(runs)
        }

    def find(self, hashes: np.ndarray) -> list[Shared]:
        """Return what a text, given by the hashes of its words, shares with the items: of one run the first 64."""
        found = []
        for length, runs in runs_of(hashes, self._tables):
            found += [Shared(at, at + length, item) for at, item in self._tables[length].find(runs)]
        return found
