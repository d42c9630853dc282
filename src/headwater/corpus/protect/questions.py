"""The texts of evaluation sets in a document: long ones by runs of words, a short one with an answer of its beside it.

A question of a few words may stand in any text, and its answers in more. Together they are the item, whatever stands
between them: letters, numbers, headings, the cells of a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import nlargest
from itertools import islice

import numpy as np

from headwater.corpus.protect.bare_words import BareWordHasher
from headwater.corpus.protect.evaluation_sets import Text
from headwater.corpus.protect.overlap import MAX_NAMED, OverlapIndex, Shared

_BESIDE_RUNS = 2  # as many words as two runs have: an answer farther from its question is another's

Answer = tuple[np.ndarray, int]  # the hashes of its first words, and its size


class Questions:
    """What is looked for in one sort of scripts: runs of `ngram` words, and shorter texts of size `least` or more.

    In scripts without spaces a word is a character, and a size is counted in letters: one word of Latin has several.
    """

    def __init__(self, hasher: BareWordHasher, ngram: int, least: int, is_unspaced: bool) -> None:
        self.least, self.unit = least, "characters" if is_unspaced else "words"
        self._hasher, self._ngram, self._is_unspaced = hasher, ngram, is_unspaced
        self._questions: dict[bytes, _Question] = {}  # by its words

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
            question = _Question(words, self.least - size, self.least // 2)
            question = self._questions.setdefault(words.tobytes(), question)
            question.add_(item, answers if len(words) < self._ngram else [])
        return total

    def end_(self) -> None:
        """Make the index, once all is added."""
        self._numbered = list(self._questions.values())
        self._index = OverlapIndex(((at, each.words) for at, each in enumerate(self._numbered)), self._ngram)

    def find(self, text: np.ndarray) -> list[Shared]:
        """Return where a text, given by the hashes of its words, has what is looked for, and the items."""
        beside = _BESIDE_RUNS * self._ngram
        return [
            found for place in self._index.find(text) for found in self._numbered[place.item].found(text, place, beside)
        ]


class _Question:
    """Words to look for, and the items that ask them, each with answers of which some must stand beside the words;
    none where the words are enough.

    The answers found are of size `least` together; where several items ask the same, and so an answer says less, of
    `least_of_several`.
    """

    def __init__(self, words: np.ndarray, least: int, least_of_several: int) -> None:
        self.words = words
        self._least, self._least_of_several = least, max(least, least_of_several)
        self._items: list[int] = []
        self._enough: list[int] = []  # places in `_items` of those without answers
        self._sizes: dict[bytes, dict[int, int]] = {}  # by an answer's words, its size in each place of `_items`
        self._lengths: dict[int, set[int]] = {}  # of the answers, by their first word

    def add_(self, item: int, answers: list[Answer]) -> None:
        number = len(self._items)
        self._items.append(item)
        if not answers:
            self._enough.append(number)
        for words, size in answers:
            sizes = self._sizes.setdefault(words.tobytes(), {})
            sizes[number] = sizes.get(number, 0) + size
            self._lengths.setdefault(int(words[0]), set()).add(len(words))

    def found(self, text: np.ndarray, place: Shared, beside: int) -> Iterator[Shared]:
        """Yield the items that a place of a text belongs to, each with the answers within `beside` words of it.

        Of many the 64 with most of their answers there. An answer that more of them have counts for the first 64,
        and for those that have a rarer one there.
        """
        least = self._least if len(self._items) == 1 else self._least_of_several
        total: Counter[int] = Counter()
        spans = dict.fromkeys(self._enough[:MAX_NAMED], (place.first, place.last))
        answers = self._answers_near(text, place, beside)
        for words in sorted(answers, key=lambda each: len(self._sizes[each])):
            sizes, (first, last) = self._sizes[words], answers[words]
            for number in {*islice(sizes, MAX_NAMED), *(total.keys() & sizes.keys())}:
                total[number] += sizes[number]
                start, end = spans.get(number, (place.first, place.last))
                spans[number] = min(start, first), max(end, last)
        complete = [number for number in sorted(spans) if number not in total or total[number] >= least]
        for number in sorted(nlargest(MAX_NAMED, complete, key=lambda each: total[each])):
            yield Shared(*spans[number], self._items[number])

    def _answers_near(self, text: np.ndarray, place: Shared, beside: int) -> dict[bytes, tuple[int, int]]:
        """Return the words of the answers within `beside` words of a place, each with the first place where it is."""
        found: dict[bytes, tuple[int, int]] = {}
        for start, end in ((max(place.first - beside, 0), place.first), (place.last, place.last + beside)):
            words = text[start:end]
            for at, first in enumerate(words.tolist()):
                for length in self._lengths.get(first, ()):
                    answer = words[at : at + length].tobytes()
                    if at + length <= len(words) and answer in self._sizes:
                        found.setdefault(answer, (start + at, start + at + length))
        return found
