"""A step between reading and the search for duplicates: a document goes in; out it comes, changed or not, or dropped.

A step sees one document alone and gives the same answer for it in every process, so that any number of workers
make the same corpus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from headwater.corpus.document import Document
from headwater.corpus.scripts import is_unspaced, spaced_words_of, units_of
from headwater.corpus.words import WordHasher

Span = tuple[int, int]  # [start, end) in characters


class Candidate:
    """A cleaned document on its way, with what several steps and measures ask for, found once for all of them."""

    __slots__ = ("_hasher", "_hashes", "_is_unspaced", "_language", "_words", "document")

    def __init__(self, document: Document, hasher: WordHasher) -> None:
        self.document = document
        self._hasher = hasher
        # no cached_property: it takes a lock for each of them
        self._is_unspaced: bool | None = None
        self._words: list[str] | None = None
        self._hashes: np.ndarray | None = None
        self._language: tuple[str, float] | None = None

    @property
    def is_unspaced(self) -> bool:
        """Whether its script doesn't separate words."""
        if self._is_unspaced is None:
            self._is_unspaced = is_unspaced(self.document.text)
        return self._is_unspaced

    @property
    def words(self) -> list[str]:
        """The words in lower case (corpus.scripts)."""
        if self._words is None:
            self._words = (units_of if self.is_unspaced else spaced_words_of)(self.document.text)
        return self._words

    @property
    def hashes(self) -> np.ndarray:
        """The uint64 hashes of `words`."""
        if self._hashes is None:
            self._hashes = self._hasher.hash(self.words)
        return self._hashes

    def language(self, identify: Callable[[str], tuple[str, float]]) -> tuple[str, float]:
        """The language of its text, and how likely it is, by the one model that there is for it."""
        if self._language is None:
            self._language = identify(self.document.text)
        return self._language

    def with_text(self, text: str, **meta: str) -> Candidate:
        """Return the candidate with another text, and more or other metadata."""
        return Candidate(replace(self.document, text=text, meta={**self.document.meta, **meta}), self._hasher)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a step took out of a document that stays: `num_bytes` of it are counted under `reason`.

    The words of `note` are counted by reason over the corpus (headwater.corpus.findings). `because` tells a person what
    decided, in a few words.
    """

    reason: str
    num_bytes: int
    excerpt: str = ""
    note: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a step says: the candidate as it leaves it, or the reason why its document is dropped; what was cut out.

    `note` and `because` go with the reason, as a cut's with the cut. So does `excerpt`: what shows best why; where
    it is empty the document's beginning will do.
    """

    candidate: Candidate
    reason: str | None = None
    cuts: tuple[Cut, ...] = ()
    note: str = ""
    because: str = ""
    excerpt: str = ""


Step = Callable[[Candidate], Verdict]


def too_little(value: float, limit: float) -> str:
    return f"{_shown(value, limit)}, {_number(limit)} at least"


def too_much(value: float, limit: float) -> str:
    return f"{_shown(value, limit)}, {_number(limit)} at most"


def _shown(value: float, limit: float) -> str:
    """Return a value with as many digits as tell it from the limit that it missed, two at least."""
    if isinstance(value, int):
        return _number(value)
    digits = next((digits for digits in range(2, 17) if float(f"{value:.{digits}g}") != limit), 17)
    return _number(float(f"{value:.{digits}g}"))


def _number(value: float) -> str:
    return f"{value:,}".removesuffix(".0")
