"""How like its true text an extracted one is."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Score:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def words(text: str) -> list[str]:
    """Return what is compared: runs of letters and digits, in lower case."""
    return _WORD.findall(text.lower())


def score(found: list[str], true: list[str], length: int = 1) -> Score:
    """Return the share of runs of `length` words that are right, and of the right ones found, as multisets."""
    ours, theirs = _runs(found, length), _runs(true, length)
    both = sum((ours & theirs).values())
    return Score(both / max(1, sum(ours.values())), both / max(1, sum(theirs.values())))


def _runs(sequence: list[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(sequence[at:] for at in range(length))))
