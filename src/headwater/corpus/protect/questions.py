"""The texts of evaluation sets in a document: long ones by runs of words, a question with an answer of its beside it.

A question of a few words may stand in any text, and its answers in more. Together they are the item, whatever stands
between them or amid their words: letters, numbers, headings, tags, the cells of a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import nlargest

import numpy as np

from headwater.corpus.protect.evaluation_sets import Text
from headwater.corpus.protect.overlap import MAX_NAMED, OverlapIndex, Shared, hashes_of
from headwater.corpus.words import WordHasher, runs_of

_BESIDE_RUNS = 4  # as many words as four runs have: an answer farther from its question is another's
_MIN_COVERED = 0.8  # of a question's words, where an answer stands beside them
_SEED_WORDS, _SEED_CHARACTERS = 5, 6  # of a question that stand together, by which it is looked for
_LINK_WORDS, _LINK_CHARACTERS = 2, 3  # of a question that stand together where others stand amid its words
_MAX_SEEDED = 8  # questions of one seed: the others have other seeds

Answer = tuple[np.ndarray, int]  # the hashes of its first words, and its size


class Questions:
    """What is looked for in one sort of scripts: runs of `ngram` words, and shorter texts of size `least` or more.

    In scripts without spaces a word is a character, and a size is counted in letters: one word of Latin has several.
    """

    def __init__(self, hasher: WordHasher, ngram: int, least: int, is_unspaced: bool) -> None:
        self._least = least
        self._hasher, self._ngram, self._is_unspaced = hasher, ngram, is_unspaced
        self._whole: list[tuple[int, np.ndarray]] = []  # items with the words of texts that count by themselves
        self._questions: dict[bytes, _Question] = {}  # by its words

    def _size(self, text: str, words: np.ndarray) -> int:
        return sum(map(str.isalnum, text)) if self._is_unspaced else len(words)

    def add_(self, item: int, text: Text) -> bool:
        """Add a text of an item, and return whether it is long enough to be looked for.

        A question is half of that at least: answers are never looked for alone.
        """
        words = hashes_of(text.question, self._hasher)
        size = self._size(text.question, words)
        hashed = [(each, hashes_of(each, self._hasher)) for each in text.answers]
        answers = [(found[: self._ngram], self._size(each, found)) for each, found in hashed if len(found)]
        if min(size + sum(each for _, each in answers), 2 * size + 1) < self._least:
            return False
        if answers:
            question = _Question(words, self._least - size, self._least // 2)
            self._questions.setdefault(words.tobytes(), question).add_(item, answers)
        if not answers or len(words) >= self._ngram:
            self._whole.append((item, words))
        return True

    def end_(self) -> None:
        """Make the indices, once all is added."""
        seed, self._link = (_SEED_CHARACTERS, _LINK_CHARACTERS) if self._is_unspaced else (_SEED_WORDS, _LINK_WORDS)
        self._numbered = list(self._questions.values())
        self._runs = OverlapIndex(self._whole, self._ngram)
        self._seeds = OverlapIndex(((at, each.words) for at, each in enumerate(self._numbered)), seed, _MAX_SEEDED)

    def find(self, text: np.ndarray) -> list[Shared]:
        """Return where a text, given by the hashes of its words, has what is looked for, and the items."""
        found, done = self._runs.find(text), dict[int, int]()
        for seed in sorted(self._seeds.find(text), key=lambda each: each.first):
            if seed.first >= done.get(seed.item, 0):
                question = self._numbered[seed.item]
                place = question.place(text, seed, self._link)
                done[seed.item] = int(place[-1]) + 1 if len(place) else seed.first + 1
                found += question.found(text, place, _BESIDE_RUNS * self._ngram) if len(place) else ()
        return found


class _Question:
    """Words to look for, and the items that ask them, each with answers of which some must stand beside the words.

    The answers found are of size `least` together; where several items ask the same, and so an answer says less, of
    `least_of_several`.
    """

    def __init__(self, words: np.ndarray, least: int, least_of_several: int) -> None:
        self.words = words
        self._least, self._least_of_several = least, max(least, least_of_several)
        self._items: list[int] = []
        self._sizes: dict[bytes, Counter[int]] = {}  # by an answer's words, its size in each place of `_items`
        self._lengths: set[int] = set()  # of the answers, in words

    def add_(self, item: int, answers: list[Answer]) -> None:
        for words, size in answers:
            self._sizes.setdefault(words.tobytes(), Counter())[len(self._items)] += size
            self._lengths.add(len(words))
        self._items.append(item)

    def place(self, text: np.ndarray, seed: Shared, link: int) -> np.ndarray:
        """Return at which words of a text the question stands around a seed of its; at none if too few are there.

        What counts are runs of `link` words that both have: others may stand between.
        """
        size, link = len(self.words), min(link, len(self.words))
        first = max(seed.first - size, 0)
        own, others = runs_of(self.words, link), runs_of(text[first : seed.last + size], link)
        num_covered = len(_words_of_runs(np.isin(own, others), link))
        return first + _words_of_runs(np.isin(others, own), link) if num_covered >= _MIN_COVERED * size else own[:0]

    def found(self, text: np.ndarray, place: np.ndarray, beside: int) -> Iterator[Shared]:
        """Yield the items that a place of a text belongs to, each with the answers within `beside` words of it.

        Of many the 64 with most of their answers there.
        """
        answers = self._answers_near(text, place, beside)
        total = sum((self._sizes[words] for words in answers), Counter[int]())
        least = self._least if len(self._items) == 1 else self._least_of_several
        complete = [number for number in sorted(total) if total[number] >= least]
        for number in sorted(nlargest(MAX_NAMED, complete, key=lambda each: total[each])):
            own = [span for words, span in answers.items() if number in self._sizes[words]]
            first, last = min(first for first, _ in own), max(last for _, last in own)
            yield Shared(min(int(place[0]), first), max(int(place[-1]) + 1, last), self._items[number])

    def _answers_near(self, text: np.ndarray, place: np.ndarray, beside: int) -> dict[bytes, tuple[int, int]]:
        """Return the words of the answers within `beside` words of a place, each with the first span where it is.

        What the question itself says is no answer.
        """
        found: dict[bytes, tuple[int, int]] = {}
        start = max(int(place[0]) - beside, 0)
        words, own = text[start : int(place[-1]) + 1 + beside], {*place.tolist()}
        for length in self._lengths:
            for at in range(len(words) - length + 1):
                if (answer := words[at : at + length].tobytes()) in self._sizes:
                    span = start + at, start + at + length
                    if not own.issuperset(range(*span)):
                        found.setdefault(answer, span)
        return found


def _words_of_runs(is_run: np.ndarray, length: int) -> np.ndarray:
    """Return the places of the words that runs of a length cover, given at which places such a run begins."""
    return np.unique(np.flatnonzero(is_run)[:, None] + np.arange(length))
