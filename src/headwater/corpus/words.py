"""Texts as arrays of word hashes: what the repetition rules and the near-duplicate search both count with.

That search is MinHash with banded lookup (Broder 1997; the 14 × 8 bands are FineWeb's). Two texts that share the key of
a band are only candidates: they count as duplicates when the true Jaccard similarity of their shingle sets reaches the
threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import xxhash

from headwater.corpus.sources.settings import DedupSettings

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BLOCK_SHINGLES = 2048  # 112 × 2048 × 4 bytes stay in a core's second-level cache


class WordHasher:
    """Turns words into 64-bit hashes; to look up those seen before would take twice as long."""

    def hash(self, words: Sequence[str] | Sequence[bytes]) -> np.ndarray:
        """Return the uint64 hashes of words, or of their bytes, which are the same; and so on every machine."""
        is_text = bool(words) and isinstance(words[0], str)
        encoded = map(str.encode, cast(Sequence[str], words)) if is_text else cast(Sequence[bytes], words)
        return np.fromiter(map(xxhash.xxh3_64_intdigest, encoded), dtype=np.uint64, count=len(words))


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


class MinHash:
    """Signatures of texts, which are given by the hashes of their words."""

    def __init__(self, settings: DedupSettings) -> None:
        self._settings = settings
        self._multipliers, self._offsets = _permutations(settings.num_bands * settings.rows_per_band)

    def keys_of(self, signature: np.ndarray) -> list[int]:
        """Return the 64-bit key of every band of a signature."""
        bands = signature.reshape(self._settings.num_bands, self._settings.rows_per_band)
        return [xxhash.xxh3_64_intdigest(band.tobytes()) for band in bands]

    def signature(self, shingles: np.ndarray) -> np.ndarray:
        """Return the minimum of every permutation over the shingles (uint32)."""
        # the top halves: a permutation of 32-bit numbers is one multiplication that numpy does 16 at a time
        tops = (shingles >> np.uint64(32)).astype(np.uint32)
        lowest = np.full(len(self._multipliers), 0xFFFFFFFF, dtype=np.uint32)
        for start in range(0, len(tops), _BLOCK_SHINGLES):
            values = np.multiply.outer(self._multipliers, tops[start : start + _BLOCK_SHINGLES])
            values += self._offsets[:, None]
            np.minimum(lowest, values.min(axis=1), out=lowest)
        return lowest


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Jaccard similarity of two sets of shingles, each sorted and without doubles."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / max(len(first) + len(second) - shared, 1)


def _permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    # from a hash of our own, because numpy doesn't promise the same random stream in every version
    numbers = [xxhash.xxh3_64_intdigest(f"headwater-minhash-{index}".encode()) for index in range(count)]
    multipliers = np.array([(number & 0xFFFFFFFF) | 1 for number in numbers], dtype=np.uint32)
    offsets = np.array([number >> 32 for number in numbers], dtype=np.uint32)
    return multipliers, offsets
