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


def frequent_ngram(hashes: np.ndarray, limits: Sequence[float], units_per_word: float = 1.0) -> Covered | None:
    """Return the first of the most frequent 2-, 3-, ... -grams that covers more of the words than its limit.

    In an unspaced script they are runs of as many units as that many words have. An n-gram is asked about in a text of
    at least 10 n words: in a shorter one two occurrences are a large share.
    """
    num_words = len(hashes)
    most = num_words  # an n-gram occurs no more often than the shorter one it begins with
    for num_words_of_run, limit in enumerate(limits, start=2):
        n = round(num_words_of_run * units_per_word)
        if num_words >= 10 * n and most * n > limit * num_words:
            most = _most(ngrams(hashes, n))
            if most > 1 and most * n / num_words > limit:
                return Covered(n, most * n / num_words, limit)
    return None


def repeated_ngram_fraction(hashes: np.ndarray, n: int) -> float:
    """Return the share of n-grams that occurred before in the same text."""
    ordered = np.sort(ngrams(hashes, n))
    return int(np.count_nonzero(ordered[1:] == ordered[:-1])) / max(len(hashes) - n + 1, 1)
