"""How much of a text is a repetition of itself, in lines and in runs of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


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


class Runs:
    """The runs of a text's words: each length is made of the last one, where that is shorter."""

    def __init__(self, hashes: np.ndarray) -> None:
        self._words = self._runs = hashes
        self._length = 1

    def sorted(self, length: int) -> np.ndarray:
        """Return one uint64 for every run of `length` words, equal where the words are, in rising order."""
        if length < self._length:
            self._runs, self._length = self._words, 1
        while self._length < length:  # two runs that overlap or touch say what the run that they cover is
            step = min(self._length, length - self._length)
            mixed = self._runs[:-step] * _MULTIPLIER
            mixed ^= mixed >> np.uint64(29)  # without it the runs (a, b) and (b, a) of a linear hash are related
            mixed += self._runs[step:]
            self._runs, self._length = mixed, self._length + step
        return np.sort(self._runs)


def frequent_ngram(runs: Runs, num_words: int, limits: Sequence[float], units_per_word: float = 1.0) -> Covered | None:
    """Return the first of the most frequent 2-, 3-, ... -grams that covers more of the words than its limit.

    In an unspaced script they are runs of as many units as that many words have. An n-gram is asked about in a text of
    at least 10 n words: in a shorter one two occurrences are a large share.
    """
    lengths = [(round(num * units_per_word), limit) for num, limit in enumerate(limits, start=2)]
    # occurrences of one run: one more are too many
    judged = [(n, limit, max(int(limit * num_words / n), 1)) for n, limit in lengths if num_words >= 10 * n]
    # a longer run is not more frequent than what it begins with: nearly all texts are done with the shortest
    if not judged or not _has_more_than(min(most for *_, most in judged), runs.sorted(judged[0][0])):
        return None
    for n, limit, most in judged:
        if _has_more_than(most, ordered := runs.sorted(n)):
            return Covered(n, _most(ordered) * n / num_words, limit)
    return None


def _has_more_than(most: int, ordered: np.ndarray) -> bool:
    """Return whether a value of an ordered array occurs more than `most` times."""
    return bool(np.any(ordered[most:] == ordered[:-most]))


def _most(ordered: np.ndarray) -> int:
    """Return how often the most frequent value occurs."""
    edges = np.concatenate(([-1], np.flatnonzero(ordered[1:] != ordered[:-1]), [len(ordered) - 1]))
    return int(np.diff(edges).max())


def repeated_ngram_fraction(runs: Runs, num_words: int, n: int) -> float:
    """Return the share of n-grams that occurred before in the same text, of n words at least."""
    ordered = runs.sorted(n)
    return int(np.count_nonzero(ordered[1:] == ordered[:-1])) / max(num_words - n + 1, 1)
