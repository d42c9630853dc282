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
    """Which documents of a source are held out: those whose hash is below `hashes_below`, and that of number `only`.

    Or, when `tail_of` is set, the end of that document, about `tail_bytes` of it.
    """

    hashes_below: int = 0
    only: int | None = None
    tail_of: int | None = None
    tail_bytes: int = 0

    def is_held_out(self, number: int, value: int) -> bool:
        """Return whether the document of this number and hash is held out whole."""
        return value < self.hashes_below or number == self.only


def split_hash(key: str, seed: int) -> int:
    """Return the 64-bit number that decides on which side a document with this text (or group) falls."""
    return xxhash.xxh3_64_intdigest(key.encode(), seed=seed)


class SplitTally:
    """What must be known of a source's documents to split it, taken up a piece at a time."""

    def __init__(self, fraction: float) -> None:
        """`fraction` of the documents are to be held out."""
        self._fraction = fraction
        self._hashes_below = math.ceil(fraction * 2**64)
        self._num_documents = self._total_bytes = self._chosen_bytes = 0
        self._is_any_chosen = False
        self._smallest = (2**64, -1, 0)  # hash, number, bytes
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
        lowest, largest = int(np.argmin(hashes)), int(np.argmax(sizes))
        self._smallest = min(self._smallest, (int(hashes[lowest]), int(numbers[lowest]), int(sizes[lowest])))
        self._longest = max(self._longest, (int(sizes[largest]), -int(numbers[largest])))

    def split(self) -> Split:
        """Choose the source's validation documents.

        A document is held out when its hash is below `fraction`; if none is, the one with the smallest hash. A source
        of few, long documents would lose too much that way: where the choice is over a tenth of the bytes, the end of
        the longest document is held out instead (at least 500 bytes, and never more than half of it). Of a source too
        small even for that nothing is held out, unless it has two documents or more.
        """
        if not self._num_documents:
            return Split()
        _, smallest, smallest_bytes = self._smallest
        chosen_bytes = self._chosen_bytes if self._is_any_chosen else smallest_bytes
        if chosen_bytes <= MAX_VALIDATION_BYTES_FRACTION * self._total_bytes:
            return Split(hashes_below=self._hashes_below) if self._is_any_chosen else Split(only=smallest)
        longest_bytes, longest = self._longest[0], -self._longest[1]
        tail_bytes = max(int(self._fraction * self._total_bytes), MIN_TAIL_BYTES)
        if 2 * tail_bytes <= longest_bytes:
            return Split(tail_of=longest, tail_bytes=tail_bytes)
        return Split(only=smallest) if self._num_documents > 1 else Split()
