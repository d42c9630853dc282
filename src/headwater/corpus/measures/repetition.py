"""How much of a text is a repetition of itself, in lines and in runs of words."""

from __future__ import annotations

import numpy as np

from headwater.corpus.words import runs_of


def repeated_line_fraction(lines: list[str]) -> float:
    """Return the share of characters in stripped lines that came before; blank lines don't count."""
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / max(total, 1)


def ngram_fraction(hashes: np.ndarray, n: int) -> float:
    """Return the share of a text's words that its most frequent run of n words covers; 0 where none comes twice."""
    ordered = np.sort(runs_of(hashes, n))
    if not np.any(ordered[1:] == ordered[:-1]):  # most texts' longer runs
        return 0.0
    edges = np.concatenate(([-1], np.flatnonzero(ordered[1:] != ordered[:-1]), [len(ordered) - 1]))
    return int(np.diff(edges).max()) * n / len(hashes)


def repeated_ngram_fraction(hashes: np.ndarray, n: int) -> float:
    """Return the share of n-grams that occurred before in the same text, of n words at least."""
    ordered = np.sort(runs_of(hashes, n))
    return int(np.count_nonzero(ordered[1:] == ordered[:-1])) / max(len(ordered), 1)
