"""Which documents are held out for validation: a hash decides, so that a new document never moves another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xxhash

MAX_VALIDATION_BYTES_FRACTION = 0.1
LEAST_HELD_OUT = 5  # documents of a source: of fewer a single one may decide its loss
MIN_TAIL_BYTES = 500
NEVER_HELD_OUT = 2**64 - 1  # the hash of what must be trained on


def usual_share(num_documents: int, fraction: float) -> float:
    """Return the share of a source's text that is held out, of documents of like size as `SplitTally` chooses them."""
    least = min(LEAST_HELD_OUT, int(MAX_VALIDATION_BYTES_FRACTION * num_documents))
    return max(fraction, least / max(1, num_documents))


@dataclass(frozen=True, slots=True)
class Split:
    """Which documents of a source are held out: those whose hash is below `hashes_below`.

    Or, when `tail_of` is set, the end of that document, about `tail_bytes` of it; `is_shared` if it was to be trained
    on, as all others. `is_last_resort` where no hash was low enough, and the lowest are taken.
    """

    hashes_below: int = 0
    is_last_resort: bool = False
    tail_of: int | None = None
    tail_bytes: int = 0
    is_shared: bool = False

    def is_held_out(self, value: int) -> bool:
        """Return whether a document of this hash is held out whole."""
        return value < self.hashes_below


def split_hash(key: str, seed: int) -> int:
    """Return the 64-bit number that decides on which side a document with this text (or group) falls."""
    return xxhash.xxh3_64_intdigest(key.encode(), seed=seed)


class SplitTally:
    """What must be known of a source's documents to split it, taken up a piece at a time."""

    def __init__(self, fraction: float, is_whole: bool = False) -> None:
        """`fraction` of the documents are to be held out; `is_whole`: no document can be cut in two."""
        self._fraction, self._is_whole = fraction, is_whole
        self._hashes_below = math.ceil(fraction * 2**64)
        self._num_documents = self._total_bytes = self._num_chosen = self._chosen_bytes = 0
        self._lowest: dict[int, tuple[int, int]] = {}  # hashes, each with the number and bytes of its documents
        # whether it may be held out, bytes, and the number below zero, so that the first of two is the greater
        self._longest = (False, 0, 0)

    def add_(self, numbers: np.ndarray, hashes: np.ndarray, sizes: np.ndarray) -> None:
        """Take up documents by their numbers, hashes (uint64) and sizes in bytes."""
        if not len(numbers):
            return
        chosen = hashes < np.uint64(self._hashes_below)
        self._num_documents += len(numbers)
        self._total_bytes += int(sizes.sum())
        self._num_chosen += int(chosen.sum())
        self._chosen_bytes += int(sizes[chosen].sum())
        for value in np.unique(hashes)[:LEAST_HELD_OUT]:
            number, size = self._lowest.get(int(value), (0, 0))
            found = hashes == value
            self._lowest[int(value)] = (number + int(found.sum()), size + int(sizes[found].sum()))
        self._lowest = dict(sorted(self._lowest.items())[:LEAST_HELD_OUT])
        is_free = hashes != np.uint64(NEVER_HELD_OUT)
        largest = int(np.lexsort((-numbers, sizes, is_free))[-1])
        longest = (bool(is_free[largest]), int(sizes[largest]), -int(numbers[largest]))
        self._longest = max(self._longest, longest)

    def split(self) -> Split:
        """Choose the source's validation documents.

        A document is held out when its hash is below `fraction`. Where those are fewer than LEAST_HELD_OUT, or over a
        tenth of the bytes, that many with the smallest hashes are, as far as they are a tenth. The parts of one
        document, or the files of one repository, have one hash: where already those of the smallest are over a tenth,
        the end of the longest document is held out (at least 500 bytes, and never more than half of it). Of a source
        too small even for that, or whose documents are whole, nothing is held out, unless it has two documents or more.
        """
        if not self._num_documents:
            return Split()
        most, below, number, size = MAX_VALIDATION_BYTES_FRACTION * self._total_bytes, 0, 0, 0
        is_little = self._chosen_bytes <= most
        if is_little and self._num_chosen >= LEAST_HELD_OUT:
            return Split(hashes_below=self._hashes_below)
        for value, (of_hash, num_bytes) in self._lowest.items():
            if number >= LEAST_HELD_OUT or size + num_bytes > most:
                break
            below, number, size = value + 1, number + of_hash, size + num_bytes
        if number:
            below = max(below, self._hashes_below) if is_little else below
            return Split(hashes_below=below, is_last_resort=not self._num_chosen)
        is_free, longest_bytes, longest = self._longest[0], self._longest[1], -self._longest[2]
        tail_bytes = min(int(self._fraction * self._total_bytes), longest_bytes // 2)
        tail_bytes = max(tail_bytes, MIN_TAIL_BYTES)
        if 2 * tail_bytes <= longest_bytes and not self._is_whole:
            return Split(tail_of=longest, tail_bytes=tail_bytes, is_shared=not is_free)
        smallest, (num_smallest, _) = next(iter(self._lowest.items()))
        last_resort = Split(hashes_below=smallest + 1, is_last_resort=True)
        return last_resort if num_smallest < self._num_documents else Split()
