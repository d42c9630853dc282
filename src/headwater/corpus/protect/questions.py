"""The texts of evaluation sets in a document: long ones by runs of words, a short one with an answer of its beside it.

A question of a few words may stand in any text, and its answers in more. Together they are the item, whatever stands
between them: letters, numbers, headings, the cells of a table.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headwater.corpus.protect.bare_words import BareWordHasher
from headwater.corpus.protect.evaluation_sets import Text
from headwater.corpus.protect.overlap import OverlapIndex, Shared

_BESIDE_RUNS = 2  # as many words as two runs have: an answer farther from its question is another's

Answer = tuple[np.ndarray, int]  # the hashes of its first words, and its size


class Questions:
    """What is looked for in one sort of scripts: runs of `ngram` words, and shorter texts of size `least` or more.

    In scripts without spaces a word is a character, and a size is counted in letters: one word of Latin has several.
    """

    def __init__(self, hasher: BareWordHasher, ngram: int, least: int, is_unspaced: bool) -> None:
        self.least, self.unit = least, "characters" if is_unspaced else "words"
        self._hasher, self._ngram, self._is_unspaced = hasher, ngram, is_unspaced
        self._sought: dict[bytes, _Sought] = {}  # by its words

    def _size(self, text: str, words: np.ndarray) -> int:
        return sum(map(str.isalnum, text)) if self._is_unspaced else len(words)

    def add_(self, item: int, text: Text) -> int:
        """Add a text of an item; return its size: how large `least` may be for it to be looked for.

        A question is half of that at least: answers are never looked for alone.
        """
        words = self._hasher.hash(text.question)
        size = self._size(text.question, words)
        hashed = [(each, self._hasher.hash(each)) for each in text.answers]
        answers = [(found[: self._ngram], self._size(each, found)) for each, found in hashed if len(found)]
        total = min(size + sum(each for _, each in answers), 2 * size + 1)
        if total >= self.least:
            sought = self._sought.setdefault(words.tobytes(), _Sought(words, self.least - size, self.least // 2))
            sought.answers.append((item, answers if len(words) < self._ngram else []))
        return total

    def end_(self) -> None:
        """Make the index, once all is added."""
        self._numbered = list(self._sought.values())
        self._index = OverlapIndex(((at, each.words) for at, each in enumerate(self._numbered)), self._ngram)

    def find(self, text: np.ndarray) -> list[Shared]:
        """Return where a text, given by the hashes of its words, has what is looked for, and the items."""
        beside = _BESIDE_RUNS * self._ngram
        return [
            found for place in self._index.find(text) for found in self._numbered[place.item].found(text, place, beside)
        ]


class _Sought:
    """Words to look for, and by item the answers of which some must stand beside them; none where they are enough.

    The answers found are of size `least` together; where several items ask the same, and so an answer says less, of
    `least_of_several`.
    """

    def __init__(self, words: np.ndarray, least: int, least_of_several: int) -> None:
        self.words = words
        self._least, self._least_of_several = least, max(least, least_of_several)
        self.answers: list[tuple[int, list[Answer]]] = []

    def found(self, text: np.ndarray, place: Shared, beside: int) -> Iterator[Shared]:
        """Yield the items that a place of a text belongs to, each with the answers within `beside` words of it."""
        start = max(place.first - beside, 0)
        around = [(start, text[start : place.first]), (place.last, text[place.last : place.last + beside])]
        least = self._least if len(self.answers) == 1 else self._least_of_several
        for item, answers in self.answers:
            spans = [(*span, size) for words, size in answers if (span := _place_of(words, around))]
            if not answers or (spans and sum(size for *_, size in spans) >= least):
                firsts, lasts = [place.first, *(each[0] for each in spans)], [place.last, *(each[1] for each in spans)]
                yield Shared(min(firsts), max(lasts), item)


def _place_of(run: np.ndarray, pieces: list[tuple[int, np.ndarray]]) -> tuple[int, int] | None:
    """Return where a run of words stands in pieces of a text, each given with its place there."""
    for start, words in pieces:
        for at in np.flatnonzero(words[: max(len(words) - len(run) + 1, 0)] == run[0]).tolist():
            if np.array_equal(words[at : at + len(run)], run):
                return start + at, start + at + len(run)
    return None
