"""Standard licence texts found in another text, by runs of four words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from headwater.corpus.licences.standards import finder, standards

RUN = 4  # words
# of the words of a standard text and of those in its place; a text that shares less than half its runs isn't tried
_MIN_SIMILARITY, _MIN_SHARED, _MAX_CANDIDATES = 0.85, 0.5, 20
_MIN_WORDS = 20  # of a standard text; shorter ones are phrases of any text
_LONG_WORDS = 400
_MIN_SENTENCE, _MAX_SURPLUS = 8, 24  # words: of a notice that a text accounts for; between others, no clause of its own
_NARROWED_WORDS = 10  # by which another wording has to agree less well to be taken for the one that a text varies


@dataclass(frozen=True, slots=True)
class Match:
    """A standard text in another, from word `start` to `end`.

    `is_narrowed` where words between its own, or missing, may take back what it gives; `gain` counts the words that
    agree less those that don't.
    """

    identifier: str
    start: int
    end: int
    is_narrowed: bool
    gain: int


class StandardTexts:
    """The runs of words of all standard texts, for the texts that share the most with a given one."""

    def __init__(self) -> None:
        self._texts = [each for each in standards() if len(each.words) >= _MIN_WORDS]
        vocabulary = dict.fromkeys(word for each in self._texts for word in each.words)
        self._number = {word: number for number, word in enumerate(vocabulary, 1)}
        self._runs = [hashed_runs(self.numbers(list(each.words))) for each in self._texts]
        self._unique = [np.unique(runs) for runs in self._runs]
        self._num_unique = np.array([len(each) for each in self._unique])
        of_text = np.repeat(np.arange(len(self._unique)), self._num_unique)
        order = np.argsort(np.concatenate(self._unique), kind="stable")
        self._sorted, self._of_text = np.concatenate(self._unique)[order], of_text[order]

    def numbers(self, words: list[str]) -> np.ndarray:
        """Return the numbers of words, 0 for those of no standard text."""
        return np.fromiter((self._number.get(word, 0) for word in words), dtype=np.uint64, count=len(words))

    def best(self, words: list[str], runs: np.ndarray, free: np.ndarray) -> Match | None:
        """Return the standard text that accounts for the most words of a text, None where none stands in it."""
        wanted = np.unique(runs[free])
        low, high = np.searchsorted(self._sorted, wanted), np.searchsorted(self._sorted, wanted, "right")
        counts = high - low
        if not counts.sum():
            return None
        at = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        shared = np.bincount(self._of_text[at], minlength=len(self._texts))
        enough = np.flatnonzero(shared >= _MIN_SHARED * self._num_unique)
        likely = enough[np.argsort(-shared[enough], kind="stable")][:_MAX_CANDIDATES]
        found = [match for number in likely if (match := self._match(int(number), words, runs, free)) is not None]
        return max(found, key=lambda match: match.gain, default=None)

    def _match(self, number: int, words: list[str], runs: np.ndarray, free: np.ndarray) -> Match | None:
        standard = self._runs[number]
        covered = _dilated(_are_in(runs, self._unique[number]) & free)
        start, end = _densest(covered)
        kept = _dilated(_are_in(standard, np.sort(runs[start : max(end - RUN + 1, start)])))
        num_covered, num_kept = int(covered[start:end].sum()), int(kept.sum())
        text = self._texts[number]
        first, last = _densest(kept)
        is_long = len(kept) > _LONG_WORDS and num_kept > len(kept) / 2
        if not is_long and finder("gives").search(" ".join(text.words[:first])):
            first = 0  # or else a title, and who holds the rights
        num_lost = int((~kept[first : last if is_long else len(kept)]).sum())
        if num_covered + num_kept < _MIN_SIMILARITY * (end - start + num_kept + num_lost):
            return None
        inside, lost = np.zeros(len(words), dtype=bool), ~kept
        inside[start:end] = ~covered[start:end]
        lost[:first] = lost[last:] = False
        surplus = [without_harmless(run) for run in runs_of(words, inside)]
        is_narrowed = any(finder("narrows_within").search(run) or run.count(" ") >= _MAX_SURPLUS for run in surplus)
        is_narrowed |= bool(finder("gives").search(" | ".join(runs_of(text.words, lost))))
        gain = 2 * num_covered - (end - start) - 2 * num_lost - _NARROWED_WORDS * is_narrowed
        return Match(text.identifier, start, end, is_narrowed, gain)

    def covered_by(self, names: list[str], words: list[str]) -> np.ndarray:
        """Return which words stand in runs of the texts of these licences, in which their notices stand, too."""
        plain = {_text_of(part) for name in names for part in name.split(" OR ")}
        runs = [runs for runs, text in zip(self._runs, self._texts) if text.identifier in plain]
        known = np.sort(np.concatenate([np.zeros(0, dtype=np.uint64), *runs]))
        covered = _dilated(_are_in(hashed_runs(self.numbers(words)), known))[: len(words)]
        # "this license does not" stands in many a sentence
        return np.concatenate([part if len(part) >= _MIN_SENTENCE else part & False for part in _parted(covered)])


standard_texts = cache(StandardTexts)


def without_harmless(words: str) -> str:
    """Return words without what takes nothing back."""
    return finder("either_way", start="", end="").sub("", words)


def _text_of(name: str) -> str:
    """Return under which name the text of a licence stands: GPL-2.0-or-later has that of GPL-2.0-only."""
    return name.replace("-or-later", "-only")


def hashed_runs(numbers: np.ndarray) -> np.ndarray:
    """Return a value of each run of words, 16 bits a word; a word that no standard text has makes it equal to none."""
    padded = np.concatenate([numbers, np.zeros(max(RUN - len(numbers), 0), dtype=np.uint64)])
    value = np.zeros(len(padded) - RUN + 1, dtype=np.uint64)
    for at in range(RUN):
        value = value * np.uint64(1 << 16) + padded[at : len(padded) - RUN + 1 + at]
    return value


def _are_in(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return which values are among those of a sorted array."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    return ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values


def _densest(marked: np.ndarray) -> tuple[int, int]:
    """Return from where to where the words lie of which most more are marked than aren't."""
    total = np.concatenate([[0], np.cumsum(np.where(marked, 1, -1))])
    end = int(np.argmax(total - np.minimum.accumulate(total)))
    return int(np.argmin(total[: end + 1])), end


def _parted(marked: np.ndarray) -> list[np.ndarray]:
    """Return the parts of an array in which all is marked, or nothing is."""
    return np.split(marked, np.flatnonzero(np.diff(marked)) + 1)


def _dilated(runs: np.ndarray) -> np.ndarray:
    """Return which words stand in one of the runs that are marked."""
    return np.convolve(runs, np.ones(RUN)) > 0.5


def runs_of(words: Sequence[str], marked: np.ndarray) -> list[str]:
    """Return the words that are marked, each run of them as one string."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked[: len(words)].astype(np.int8), [0]])))
    return [" ".join(words[start:end]) for start, end in zip(edges[::2], edges[1::2])]
