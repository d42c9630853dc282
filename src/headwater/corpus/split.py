"""Which documents are held out for validation: a hash decides, so that a new document never moves another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xxhash

MAX_VALIDATION_BYTES_FRACTION = 0.1
MIN_TAIL_BYTES = 500


@dataclass(frozen=True, slots=True)
class Split:
    """Which documents of a source are held out: those whose hash is below `hashes_below`.

    Or, when `tail_of` is set, the end of that document, about `tail_bytes` of it. `is_last_resort` where no hash was
    low enough, and the lowest is taken.
    """

    hashes_below: int = 0
    is_last_resort: bool = False
    tail_of: int | None = None
    tail_bytes: int = 0

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
        self._num_documents = self._total_bytes = self._chosen_bytes = 0
        self._is_any_chosen = False
        self._smallest = (2**64, 0, 0)  # hash, and the number and bytes of the documents that have it
        self._longest = (0, 0)  # bytes, and the number below zero, so that the first of two is the greater

    def add_(self, numbers: np.ndarray, hashes: np.ndarray, sizes: np.ndarray) -> None:
        """Take up documents by their numbers, hashes (uint64) and sizes in bytes."""
        if not len(numbers):
            return
        chosen = hashes < np.uint64(self._hashes_below)
        self._num_documents += len(numbers)
        self._total_bytes += int(sizes.sum())
        self._chosen_bytes += int(sizes[chosen].sum())
        self._is_any_chosen |= bool(chosen.any())
        largest, lowest = int(np.argmax(sizes)), int(hashes.min())
        if lowest < self._smallest[0]:
            self._smallest = (lowest, 0, 0)
        of_lowest = hashes == np.uint64(self._smallest[0])
        _, number, size = self._smallest
        self._smallest = (self._smallest[0], number + int(of_lowest.sum()), size + int(sizes[of_lowest].sum()))
        self._longest = max(self._longest, (int(sizes[largest]), -int(numbers[largest])))

    def split(self) -> Split:
        """Choose the source's validation documents.

        A document is held out when its hash is below `fraction`; if none is, those with the smallest hash, which are
        one, or the parts of one. A source of few, long documents, or of few repositories, would lose too much that
        way: where the choice is over a tenth of the bytes, the end of the longest document is held out instead (at
        least 500 bytes, and never more than half of it). Of a source too small even for that, or whose documents are
        whole, nothing is held out, unless it has two documents or more.
        """
        if not self._num_documents:
            return Split()
        smallest, num_smallest, smallest_bytes = self._smallest
        last_resort = Split(hashes_below=smallest + 1, is_last_resort=True)
        chosen_bytes = self._chosen_bytes if self._is_any_chosen else smallest_bytes
        if chosen_bytes <= MAX_VALIDATION_BYTES_FRACTION * self._total_bytes:
            return Split(hashes_below=self._hashes_below) if self._is_any_chosen else last_resort
        longest_bytes, longest = self._longest[0], -self._longest[1]
        tail_bytes = min(int(self._fraction * self._total_bytes), longest_bytes // 2)
        tail_bytes = max(tail_bytes, MIN_TAIL_BYTES)
        if 2 * tail_bytes <= longest_bytes and not self._is_whole:
            return Split(tail_of=longest, tail_bytes=tail_bytes)
        return last_resort if num_smallest < self._num_documents else Split()
