"""Standard licence texts found in another text, by runs of four words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from headwater.corpus.licences.standards import finder, phrases, standards

RUN = 4  # words
# of the words of a standard text and of those in its place; a text that shares less than half its runs isn't tried
_MIN_SIMILARITY, _MIN_SHARED, _MAX_CANDIDATES = 0.85, 0.5, 20
_MIN_WORDS = 20  # of a standard text; shorter ones are phrases of any text
_LONG_WORDS = 400
_GNU = ("GPL", "LGPL", "AGPL", "GFDL")
_NAMED, _FIRST, _MAX_BETWEEN = (
    4,
    6,
    3,
)  # words before a name that tell it for one; the first of a text, others among them
_MIN_SENTENCE, _MAX_EDIT = 8, 24  # words: of a notice that a text accounts for; between its own, no clause of another
_NARROWED_WORDS = 10  # by which another wording has to agree less well to be taken for the one that a text varies


@dataclass(frozen=True, slots=True)
class Match:
    """A standard text in another, from the word `start`.

    `covered` are the words that it accounts for: its own, and a few in their place. `is_narrowed` where those, or what
    is missing, may take back what it gives; `gain` counts the words that agree less those that don't.
    """

    identifier: str
    start: int
    covered: np.ndarray
    is_narrowed: bool
    gain: int


@dataclass(frozen=True, slots=True)
class Edit:
    """Words of a text in the place of the words `left` to `right` of a standard text, behind the words `before`."""

    before: list[str]
    words: list[str]
    left: int
    right: int

    def narrows(self, standard: Sequence[str], is_gnu: bool) -> bool:
        """Return whether the words may take back what the standard text gives, those in whose place they are apart.

        Where a standard text names who holds the rights others may be named, else all but a few words may do so; the
        texts of GNU, whose addresses change, give too little for that.
        """
        words = without_harmless(" ".join(self.words)).split()
        own = standard[self.left : self.right] if self.right - self.left <= _MAX_EDIT else []
        new = _without(words, [*own, "not"] if "neither" in own else own)
        if finder("narrows_within").search(" ".join(new)):
            return True
        other = [word for word in new if len(word) > 1 and not word.isdigit() and word not in phrases()["alike"]]
        if is_gnu or not other:
            return False
        before = " ".join([*self.before, *words[: words.index(other[0])]])
        return not finder("before_names").search(before)


class StandardTexts:
    """The runs of words of all standard texts, for the texts that share the most with a given one."""

    def __init__(self) -> None:
        self._texts = [each for each in standards() if len(each.words) >= _MIN_WORDS]
        self.num_texts = Counter(word for each in self._texts for word in set(each.words))
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
        standard, text = self._runs[number], self._texts[number].words
        covered = _dilated(_are_in(runs, self._unique[number]) & free)
        start, end = _one_copy(covered, standard, runs)
        kept = _dilated(_are_in(standard, np.sort(runs[start : max(end - RUN + 1, start)])))
        first, last = _densest(kept)
        is_long = len(kept) > _LONG_WORDS and int(kept.sum()) > len(kept) / 2
        gaps = [(start + low, start + high) for low, high in stretches(~covered[start:end])]
        edits = [
            Edit(words[max(low - _NAMED, 0) : low], words[low:high], *(_place(standard, runs, low, high) or (0, 0)))
            for low, high in gaps
            if high - low <= _MAX_EDIT
        ]
        low, high = start, end
        if not is_long and finder("gives").search(" ".join(text[:first])):  # or else a title, and who holds the rights
            low = _begin(words, start, text[max(first - _FIRST, 0) : first])
            edits.append(Edit([], words[low:start], 0, first))
            first = 0
        while high < len(words) and high - end < len(text) - last and words[high] in text[last:]:
            high += 1
        edits.append(Edit([], words[end:high], last, len(text)))
        num_same, num_kept = int(covered[start:end].sum()), int(kept.sum())
        num_other = sum(len(edit.words) for edit in edits)
        num_lost = int((~kept[first : last if is_long else len(kept)]).sum())
        if num_same + num_kept < _MIN_SIMILARITY * (num_same + num_other + num_kept + num_lost):
            return None
        is_gnu = self._texts[number].identifier.startswith(_GNU)
        lost = [(begin, stop) for begin, stop in stretches(~kept) if begin < last and stop > first]
        is_narrowed = any(edit.narrows(text, is_gnu) for edit in edits) or any(
            _takes(text, *each, edits) for each in lost
        )
        accounted = np.ones(high - low, dtype=bool)
        for begin, stop in gaps:
            accounted[begin - low : stop - low] = stop - begin <= _MAX_EDIT
        gain = (
            num_same
            - sum(min(high - low, _MAX_EDIT) for low, high in gaps)
            - 2 * num_lost
            - _NARROWED_WORDS * is_narrowed
        )
        return Match(self._texts[number].identifier, low, accounted, is_narrowed, gain)

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
    return [" ".join(words[start:end]) for start, end in stretches(marked[: len(words)])]


def stretches(marked: np.ndarray) -> list[tuple[int, int]]:
    """Return from where to where all is marked."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]]))).tolist()
    return list(zip(edges[::2], edges[1::2]))


def _one_copy(covered: np.ndarray, standard: np.ndarray, runs: np.ndarray) -> tuple[int, int]:
    """Return from where to where the words lie of which most are of a standard text, in order, not a second copy."""
    start, end = _densest(covered)
    middle = (start + end) / 2
    for low, high in [(start + low, start + high) for low, high in stretches(~covered[start:end])]:
        if _place(standard, runs, low, high) is None:
            if low > middle:
                return start, low
            start = high
    return start, end


def _place(standard: np.ndarray, runs: np.ndarray, start: int, end: int) -> tuple[int, int] | None:
    """Return in the place of which words of a standard text the words `start` to `end` of a text stand, both beside
    words in common; None where those stand in another order.
    """
    left, right = np.flatnonzero(standard == runs[start - RUN]) + RUN, np.flatnonzero(standard == runs[end])
    length, place = min(((b - a, a) for a in left.tolist() for b in right.tolist() if b >= a), default=(-1, 0))
    return (place, place + length) if length >= 0 else None


def _begin(words: list[str], start: int, head: Sequence[str]) -> int:
    """Return where the first words of a standard text stand before `start`, with a few others between them."""
    low = at = start
    while at and low - at <= _MAX_BETWEEN:
        at -= 1
        low = at if words[at] in head else low
    return low


def _takes(standard: Sequence[str], start: int, end: int, edits: list[Edit]) -> bool:
    """Return whether words of a standard text that a text lacks give something that no words in their place give."""
    near = [word for edit in edits if edit.left <= end and edit.right >= start for word in edit.words]
    return bool(finder("gives").search(" ".join(_without(standard[start:end], near))))


def _without(words: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return words but for others, each of those once."""
    left = Counter(others)
    kept: list[str] = []
    for word in words:
        if left[word]:
            left[word] -= 1
        else:
            kept.append(word)
    return kept
