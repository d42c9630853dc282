"""Texts as arrays of word hashes: what the repetition rules and the near-duplicate search both count with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

_MAX_CACHED_WORDS = 1 << 15  # 6 MB; with more, looking up costs more than hashing the rare words again
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class _Hashes(dict[str | bytes, int]):
    def __missing__(self, word: str | bytes) -> int:
        self[word] = value = xxhash.xxh3_64_intdigest(word if isinstance(word, bytes) else word.encode())
        return value


class WordHasher:
    """Turns words into 64-bit hashes; words seen before are looked up."""

    def __init__(self) -> None:
        self._hashes = _Hashes()

    def hash(self, words: Sequence[str | bytes]) -> np.ndarray:
        """Return the uint64 hashes of words, or of their bytes, which are the same; and so on every machine."""
        if len(self._hashes) > _MAX_CACHED_WORDS:
            self._hashes.clear()
        return np.fromiter(map(self._hashes.__getitem__, words), dtype=np.uint64, count=len(words))


def runs_of(hashes: np.ndarray, length: int) -> np.ndarray:
    """Return one uint64 for every run of `length` words, in order; of a text of fewer words none."""
    if length > len(hashes):
        return np.empty(0, dtype=np.uint64)
    runs, have = hashes, 1
    while have < length:  # two runs that overlap or touch say what the run that they cover is
        step = min(have, length - have)
        longer = runs[:-step] * _MULTIPLIER
        longer ^= longer >> np.uint64(29)  # without it the runs (a, b) and (b, a) of a linear hash are related
        longer += runs[step:]
        runs, have = longer, have + step
    return runs


def ngrams(hashes: np.ndarray, n: int) -> np.ndarray:
    """Return what `runs_of` does; a text of fewer words is one run."""
    return runs_of(hashes, min(n, len(hashes)))
