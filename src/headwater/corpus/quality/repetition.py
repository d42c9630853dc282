"""How much of a text is a repetition of itself, in lines and in runs of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headwater.corpus.words import ngrams


class Covered(NamedTuple):
    """Runs of `n` words cover a larger part of a text than `limit`."""

    n: int
    fraction: float
    limit: float


def repeated_line_fraction(text: str) -> float:
    """Return the share of characters that stand in lines seen before in the same text; blank lines don't count."""
    lines = [line.strip() for line in text.split("\n")]
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / max(total, 1)


def _most(values: np.ndarray) -> int:
    """Return how often the most frequent value occurs."""
    ordered = np.sort(values)
    ends = np.flatnonzero(ordered[1:] != ordered[:-1])
    edges = np.concatenate(([-1], ends, [len(ordered) - 1]))
    return int(np.diff(edges).max(initial=0))


def frequent_ngram(hashes: np.ndarray, limits: Sequence[float]) -> Covered | None:
    """Return the first of the most frequent 2-, 3-, ... -grams that covers more of the words than its limit.

    An n-gram is asked about in a text of at least 10 n words: in a shorter one two occurrences are a large share.
    """
    num_words = len(hashes)
    most = num_words  # an n-gram occurs no more often than the shorter one it begins with
    for n, limit in enumerate(limits, start=2):
        if num_words >= 10 * n and most * n > limit * num_words:
            most = _most(ngrams(hashes, n))
            if most > 1 and most * n / num_words > limit:
                return Covered(n, most * n / num_words, limit)
    return None


def repeated_ngram_fraction(hashes: np.ndarray, n: int) -> float:
    """Return the share of n-grams that occurred before in the same text."""
    return _num_repeated(ngrams(hashes, n)) / max(len(hashes) - n + 1, 1)


def _num_repeated(values: np.ndarray) -> int:
    ordered = np.sort(values)
    return int(np.count_nonzero(ordered[1:] == ordered[:-1]))


def covered_fraction(hashes: np.ndarray, n: int) -> float:
    """Return the share of words that lie in an n-gram that occurred before; a word in several counts once."""
    values = ngrams(hashes, n)
    first = np.zeros(len(values), dtype=bool)
    first[np.unique(values, return_index=True)[1]] = True
    edges = np.zeros(len(hashes) + 1, dtype=np.int64)
    repeats = np.flatnonzero(~first)
    edges[repeats] += 1
    edges[repeats + n] -= 1
    return float(np.count_nonzero(np.cumsum(edges[:-1]))) / max(len(hashes), 1)


def repeated_passages(hashes: np.ndarray, limits: Sequence[float], first_n: int = 5) -> Covered | None:
    """Return the first n whose n-grams that occurred before cover more of the words than their limit.

    `limits` are for n = `first_n` and up. Gopher counts characters; words are the same share but for their lengths.
    """
    num_words = len(hashes)
    num_repeated = num_words  # where a long run is repeated, so is the shorter one it begins with
    for n, limit in enumerate(limits, start=first_n):
        if num_words > n and num_repeated * n > limit * num_words:
            num_repeated = _num_repeated(ngrams(hashes, n))
            if num_repeated * n > limit * num_words and (fraction := covered_fraction(hashes, n)) > limit:
                return Covered(n, fraction, limit)
    return None
