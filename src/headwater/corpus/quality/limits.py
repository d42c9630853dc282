"""What is usual in a language, beside English: how long its texts and words are, which words no running text lacks.

The rules' settings are figures of English. `limits.toml` says by what to multiply them: made by
benchmarks/corpus/languages.py from text known to be good, as FineWeb-2 (Penedo et al. 2025, arXiv 2506.20920) made its
thresholds; a row a language, and two for languages without one.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from headwater.corpus.quality.language import LanguageModel, model_is_installed
from headwater.corpus.scripts import is_unspaced
from headwater.corpus.step import Candidate

_CLEAR_SHARE = 0.5  # of a language's stop words: no doubt is left
_MIN_CONFIDENCE = 0.7


@dataclass(frozen=True, slots=True)
class Limits:
    """One language's: lengths as multiples of those of English."""

    characters: float
    """Of a text that says the same."""
    words: float
    """Of the same text; in an unspaced script its units (corpus.scripts)."""
    shortest_word: float
    longest_word: float
    sentences: bool = True
    """Whether nearly all texts have the signs for their ends (corpus.scripts): Armenian's is often typed as a colon."""
    stop_words: frozenset[str] = frozenset()

    def num_stop_words(self, candidate: Candidate) -> int:
        """Return how many different stop words of the language a text has."""
        text = candidate.document.text
        if is_unspaced(text):
            return sum(word in text for word in self.stop_words)
        return len(self.stop_words & candidate.vocabulary)


def read_limits() -> dict[str, Limits]:
    """Return the limits by language, and those of the rest under "default" and "unspaced"."""
    table = tomllib.loads(files(__package__).joinpath("limits.toml").read_text(encoding="utf-8"))
    limits = {}
    for name, row in table.items():
        length = row["word_length"]
        shortest, longest = length if isinstance(length, list) else (length, length)
        limits[name] = Limits(
            characters=row["characters"],
            words=row["words"],
            shortest_word=shortest,
            longest_word=longest,
            sentences=row.get("sentences", True),
            stop_words=frozenset(row.get("stop_words", ())),
        )
    return limits


FindLimits = Callable[[Candidate], Limits]


def limits_by_metadata() -> FindLimits:
    """Return what finds a document's limits by the language in its metadata, as the language step has named it."""
    rows = read_limits()

    def find(candidate: Candidate) -> Limits:
        named = rows.get(candidate.document.meta.get("language", ""))
        return named or rows["unspaced" if is_unspaced(candidate.document.text) else "default"]

    return find


class LimitsByText:
    """Finds a document's limits by its text alone: what a page's template says of its language is often wrong.

    A text with half of a language's stop words is in that language. Of any other the model (quality.language) is asked,
    where it is installed; a text that it isn't sure about gets the limits of no language.
    """

    def __init__(self) -> None:
        self._rows = read_limits()
        self._languages_of: dict[str, list[str]] = {}
        for name, row in self._rows.items():
            for word in row.stop_words:
                self._languages_of.setdefault(word, []).append(name)
        self._unspaced = [name for name, row in self._rows.items() if any(map(is_unspaced, row.stop_words))]

    @cached_property
    def _model(self) -> LanguageModel | None:
        return LanguageModel() if model_is_installed() else None

    def __call__(self, candidate: Candidate) -> Limits:
        text = candidate.document.text
        if is_unspaced(text):
            shares = {
                name: self._rows[name].num_stop_words(candidate) / len(self._rows[name].stop_words)
                for name in self._unspaced
            }
        else:
            found = candidate.vocabulary & self._languages_of.keys()
            counts = Counter(name for word in found for name in self._languages_of[word])
            shares = {name: count / len(self._rows[name].stop_words) for name, count in counts.items()}
        likeliest = max(shares, key=shares.__getitem__, default="")
        if shares.get(likeliest, 0.0) >= _CLEAR_SHARE:
            return self._rows[likeliest]
        language, confidence = self._model.identify(text) if self._model else ("", 0.0)
        if confidence >= _MIN_CONFIDENCE and language in self._rows:
            return self._rows[language]
        return self._rows["unspaced" if is_unspaced(text) else "default"]
