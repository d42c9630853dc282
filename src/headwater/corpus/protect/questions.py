"""The texts of evaluation sets in a document: long ones by runs of words, a question with an answer of its beside it.

A question of a few words may stand in any text, and its answers in more. Together they are the item, whatever stands
between them or amid their words: letters, numbers, headings, tags, the cells of a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from heapq import nlargest
from itertools import islice
from typing import NamedTuple

import numpy as np

from headwater.corpus.protect.evaluation_sets import Text
from headwater.corpus.protect.overlap import MAX_NAMED, OverlapIndex, Shared, hashes_of
from headwater.corpus.words import WordHasher

_BESIDE_RUNS = 4  # as many words as four runs have: an answer farther from its question is another's
_MIN_COVERED = 0.8  # of a question's words, where an answer stands beside them
_SEED_WORDS, _SEED_CHARACTERS = 5, 6  # of a question that stand together, by which it is looked for; half of it counts
_MAX_SEEDED = 8  # questions of one seed: the others have other seeds

Answer = tuple[np.ndarray, int]  # the hashes of its first words, and its size


class Questions:
    """What is looked for in one sort of scripts: runs of `ngram` words, and shorter texts of size `least` or more.

    In scripts without spaces a word is a character, and a size is counted in letters: one word of Latin has several.
    """

    def __init__(self, hasher: WordHasher, ngram: int, least: int, is_unspaced: bool) -> None:
        self._least = least
        self._hasher, self._ngram, self._is_unspaced = hasher, ngram, is_unspaced
        self._long: list[tuple[int, np.ndarray]] = []  # items with the words of their texts of a run and more
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
        total = min(size + sum(each for _, each in answers), 2 * size + 1)
        is_long = total >= self._least
        if is_long:
            question = _Question(words, self._least - size, self._least // 2)
            question = self._questions.setdefault(words.tobytes(), question)
            question.add_(item, answers)
            if len(words) >= self._ngram:
                self._long.append((item, words))
        return is_long

    def end_(self) -> None:
        """Make the indices, once all is added."""
        self._numbered = list(self._questions.values())
        self._runs = OverlapIndex(self._long, self._ngram)
        seed = _SEED_CHARACTERS if self._is_unspaced else _SEED_WORDS
        self._min_piece = seed // 2
        self._seeds = OverlapIndex(((at, each.words) for at, each in enumerate(self._numbered)), seed, _MAX_SEEDED)

    def find(self, text: np.ndarray) -> list[Shared]:
        """Return where a text, given by the hashes of its words, has what is looked for, and the items."""
        found, done, beside = self._runs.find(text), dict[int, int](), _BESIDE_RUNS * self._ngram
        seeds = sorted(self._seeds.find(text), key=lambda each: each.first)
        listed = text.tolist() if seeds else []
        for seed in seeds:
            if seed.first < done.get(seed.item, 0):
                continue
            question = self._numbered[seed.item]
            place = question.place(listed, seed, self._min_piece)
            done[seed.item] = place.last if place else seed.first + 1
            found += question.found(text, place, beside) if place else ()
        return found


class _Place(NamedTuple):
    """Where a question stands in a text: its words, as far as they are there, in pieces [start, end)."""

    pieces: list[tuple[int, int]]
    is_whole: bool

    @property
    def first(self) -> int:
        return self.pieces[0][0]

    @property
    def last(self) -> int:
        return self.pieces[-1][1]


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

    def place(self, text: list[int], seed: Shared, min_piece: int) -> _Place | None:
        """Return where the words stand around a seed of theirs, None where too few of them do.

        They are in order, in pieces of `min_piece` words and more, and others may stand between.
        """
        size, words = len(self.words), self.words.tolist()
        first = max(seed.first - size, 0)
        window = text[first : seed.last + size]
        if sum(map(set(window).__contains__, words)) < _MIN_COVERED * size:
            return None
        blocks = SequenceMatcher(None, window, words, autojunk=False).get_matching_blocks()
        pieces = [(first + each.a, first + each.a + each.size) for each in blocks if each.size >= min_piece]
        num_covered = sum(end - start for start, end in pieces)
        is_whole = num_covered == size and len(pieces) == 1
        return _Place(pieces, is_whole) if num_covered >= _MIN_COVERED * size else None

    def found(self, text: np.ndarray, place: _Place, beside: int) -> Iterator[Shared]:
        """Yield the items that a place of a text belongs to, each with the answers within `beside` words of it.

        Of many the 64 with most of their answers there. An answer that more of them have counts for the first 64,
        and for those that have a rarer one there.
        """
        least = self._least if len(self._items) == 1 else self._least_of_several
        total: Counter[int] = Counter()
        spans = dict.fromkeys(self._enough[:MAX_NAMED] if place.is_whole else [], (place.first, place.last))
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

    def _answers_near(self, text: np.ndarray, place: _Place, beside: int) -> dict[bytes, tuple[int, int]]:
        """Return the words of the answers within `beside` words of a place, each with the first place where it is."""
        found: dict[bytes, tuple[int, int]] = {}
        ends = [max(place.first - beside, 0), *(at for piece in place.pieces for at in piece), place.last + beside]
        for start, end in zip(ends[::2], ends[1::2], strict=True):
            words = text[start:end]
            for at, first in enumerate(words.tolist()):
                for length in self._lengths.get(first, ()):
                    answer = words[at : at + length].tobytes()
                    if at + length <= len(words) and answer in self._sizes:
                        found.setdefault(answer, (start + at, start + at + length))
        return found
