"""Texts as arrays of word hashes: what the repetition rules and the near-duplicate search both count with."""

from __future__ import annotations

import numpy as np
import xxhash

_MAX_CACHED_WORDS = 1 << 15  # 6 MB; with more, looking up costs more than hashing the rare words again
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class _Hashes(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = value = xxhash.xxh3_64_intdigest(word.encode())
        return value


class WordHasher:
    """Turns words into 64-bit hashes; words seen before are looked up."""

    def __init__(self) -> None:
        self._hashes = _Hashes()

    def hash(self, words: list[str]) -> np.ndarray:
        """Return the uint64 hashes of `words`; the same on every machine."""
        if len(self._hashes) > _MAX_CACHED_WORDS:
            self._hashes.clear()
        return np.fromiter(map(self._hashes.__getitem__, words), dtype=np.uint64, count=len(words))


def ngrams(hashes: np.ndarray, n: int) -> np.ndarray:
    """Return one uint64 for every run of `n` words, in order; a text of fewer words is one run."""
    n = min(n, len(hashes))
    if n == 0:
        return np.empty(0, dtype=np.uint64)
    length = len(hashes) - n + 1
    value = hashes[:length].copy()
    for offset in range(1, n):
        value *= _MULTIPLIER
        value ^= value >> np.uint64(29)  # without it the runs (a, b) and (b, a) of a linear hash are related
        value += hashes[offset : offset + length]
    return value
