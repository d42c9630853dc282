"""How much of a text is a repetition of itself, in lines and in runs of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headwater.corpus.words import runs_of


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


def frequent_ngram(hashes: np.ndarray, limits: Sequence[float], units_per_word: float = 1.0) -> Covered | None:
    """Return the first of the most frequent 2-, 3-, ... -grams that covers more of the words than its limit.

    In an unspaced script they are runs of as many units as that many words have. An n-gram is asked about in a text of
    at least 10 n words: in a shorter one two occurrences are a large share.
    """
    num_words = len(hashes)
    lengths = [(round(num * units_per_word), limit) for num, limit in enumerate(limits, start=2)]
    # occurrences of one run: one more are too many
    judged = [(n, limit, max(int(limit * num_words / n), 1)) for n, limit in lengths if num_words >= 10 * n]
    # a longer run is not more frequent than what it begins with: nearly all texts are done with the shortest
    if not judged or not _has_more_than(min(most for *_, most in judged), np.sort(runs_of(hashes, judged[0][0]))):
        return None
    for n, limit, most in judged:
        if _has_more_than(most, ordered := np.sort(runs_of(hashes, n))):
            return Covered(n, _most(ordered) * n / num_words, limit)
    return None


def _has_more_than(most: int, ordered: np.ndarray) -> bool:
    """Return whether a value of an ordered array occurs more than `most` times."""
    return bool(np.any(ordered[most:] == ordered[:-most]))


def _most(ordered: np.ndarray) -> int:
    """Return how often the most frequent value occurs."""
    edges = np.concatenate(([-1], np.flatnonzero(ordered[1:] != ordered[:-1]), [len(ordered) - 1]))
    return int(np.diff(edges).max())


def repeated_ngram_fraction(hashes: np.ndarray, n: int) -> float:
    """Return the share of n-grams that occurred before in the same text, of n words at least."""
    ordered = np.sort(runs_of(hashes, n))
    return int(np.count_nonzero(ordered[1:] == ordered[:-1])) / max(len(ordered), 1)
