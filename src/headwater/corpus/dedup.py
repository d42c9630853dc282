"""Exact and near duplicates, found while documents stream by; of several copies the first is kept.

Near duplicates: MinHash over word shingles with banded lookup (Broder 1997; the 14 × 8 bands are FineWeb's). A pair
that shares a band is only a candidate: it counts as a duplicate when the true Jaccard similarity of its shingle sets
reaches the threshold. Memory is a signature's band keys for each document kept; texts are read back to be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import nsmallest

import numpy as np
import xxhash

from headwater.corpus.settings import DedupSettings
from headwater.corpus.words import WordHasher, ngrams, words_of

# pages of one site may share most of their words with thousands of others and be no duplicates: without a limit each
# would be compared with all. Those that share the most bands are compared; a true duplicate shares more than others
MAX_COMPARED = 32
MAX_IN_BAND = 1000

_BLOCK_SHINGLES = 2048  # 112 × 2048 × 4 bytes stay in a core's second-level cache


class ExactDuplicates:
    """Remembers a 128-bit hash of every text, without regard to case and white space."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def is_new_(self, words: list[str]) -> bool:
        """Return whether these words were not seen before, and remember them."""
        digest = xxhash.xxh3_128_digest(" ".join(words).encode())
        is_new = digest not in self._seen
        self._seen.add(digest)
        return is_new


class NearDuplicates:
    """Finds near duplicates among numbered documents.

    `read_text` returns the cleaned text of a document added before; it is called only for candidates.
    """

    def __init__(self, settings: DedupSettings, hasher: WordHasher, read_text: Callable[[int], str]) -> None:
        self._settings = settings
        self._hasher = hasher
        self._read_text = read_text
        self._multipliers, self._offsets = _permutations(settings.num_bands * settings.rows_per_band)
        self._bands: list[dict[int, list[int]]] = [{} for _ in range(settings.num_bands)]

    def find(self, hashes: np.ndarray) -> tuple[int | None, list[int]]:
        """Return the first near duplicate of a text given by its word hashes, or None, and the text's band keys."""
        shingles = ngrams(hashes, self._settings.shingle_words)
        keys = self._band_keys(shingles)
        shared = Counter(number for band, key in zip(self._bands, keys) for number in band.get(key, ()))
        likely = nsmallest(MAX_COMPARED, shared, key=lambda number: (-shared[number], number))
        unique = np.unique(shingles) if likely else shingles
        for number in sorted(likely):
            if self._similarity(unique, number) >= self._settings.min_similarity:
                return number, keys
        return None, keys

    def add_(self, number: int, keys: list[int]) -> None:
        """Remember a document that is kept, by the band keys that `find` returned."""
        for band, key in zip(self._bands, keys):
            numbers = band.setdefault(key, [])
            if len(numbers) < MAX_IN_BAND:
                numbers.append(number)

    def _band_keys(self, shingles: np.ndarray) -> list[int]:
        signature = self.signature(shingles).reshape(self._settings.num_bands, self._settings.rows_per_band)
        return [xxhash.xxh3_64_intdigest(band.tobytes()) for band in signature]

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

    def _similarity(self, unique: np.ndarray, number: int) -> float:
        words = words_of(self._read_text(number))
        other = np.unique(ngrams(self._hasher.hash(words), self._settings.shingle_words))
        shared = len(np.intersect1d(unique, other, assume_unique=True))
        return shared / max(len(unique) + len(other) - shared, 1)


def _permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    # from a hash of our own, because numpy doesn't promise the same random stream in every version
    numbers = [xxhash.xxh3_64_intdigest(f"headwater-minhash-{index}".encode()) for index in range(count)]
    multipliers = np.array([(number & 0xFFFFFFFF) | 1 for number in numbers], dtype=np.uint32)
    offsets = np.array([number >> 32 for number in numbers], dtype=np.uint32)
    return multipliers, offsets
