"""What is usual in a language, beside English: how long its texts and words are, which words no running text lacks.

The rules' settings are figures of English. `limits.toml` says by what to multiply them: made by
benchmarks/corpus/languages.py from text known to be good, as FineWeb-2 (Penedo et al. 2025, arXiv 2506.20920) made its
thresholds; a row a language, and two for languages without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from headwater.corpus.measures.language import LanguageModel, model_is_installed
from headwater.corpus.scripts import is_unspaced
from headwater.corpus.step import Candidate
from headwater.corpus.toml_tables import toml_table

_CLEAR_SHARE = 0.5  # of a language's stop words: no doubt is left
_MIN_CONFIDENCE = 0.7


@dataclass(frozen=True, slots=True)
class Limits:
    """One language's, a row of limits.toml: lengths as multiples of those of English."""

    name: str
    """Of the row."""
    characters: float
    """Of a text that says the same."""
    words: float
    """Of the same text; in an unspaced script its units (corpus.scripts)."""
    word_length: float | list[float]
    """Of a word; of the shortest and the longest on average where two are given."""
    sentences: bool = True
    """Whether nearly all texts have the signs for their ends (corpus.scripts): Armenian's is often typed as a colon."""
    stop_words: frozenset[str] = frozenset()
    stop_word_share: float = 0.0
    """Of a text's characters, in a script without signs for the ends of sentences (Thai): a list has words alone."""
    relatives: bool = False
    """Whether the model (quality.language) takes texts in languages that it doesn't know for this one."""

    @property
    def word_lengths(self) -> list[float]:
        return self.word_length if isinstance(self.word_length, list) else [self.word_length] * 2

    def num_stop_words(self, candidate: Candidate) -> int:
        """Return how many different stop words of the language a text has."""
        text = candidate.document.text
        if candidate.is_unspaced:
            return sum(word in text for word in self.stop_words)
        return len(self.stop_words.intersection(candidate.words))


def stop_word_share(text: str, stop_words: Iterable[str]) -> float:
    """Return the share of the characters of a text, in an unspaced script, that stand in stop words."""
    return sum(len(word) * text.count(word) for word in stop_words) / max(len(text), 1)


def read_limits() -> dict[str, Limits]:
    """Return the limits by language, and those of the rest under "default" and "unspaced"."""
    table = toml_table("headwater.corpus.measures", "by_language")
    return {
        name: Limits(name, **row | {"stop_words": frozenset(row.get("stop_words", ()))}) for name, row in table.items()
    }


class LimitsByText:
    """Finds a document's limits by its text alone: what a page's template says of its language is often wrong.

    A text is in the language of whose stop words half come first; that may be a near relative, whose limits are alike.
    Of a text without, the model (quality.language) is asked, where it is installed; if it isn't sure, the limits for
    languages without a row hold. It takes Tigrinya, which it doesn't know, for Amharic: where it alone names such a
    language, no stop words are asked.
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
        known = self._by_units(candidate.document.text) if candidate.is_unspaced else self._by_words(candidate.words)
        if known is not None:
            return self._rows[known]
        language, confidence = candidate.language(self._model.identify) if self._model else ("", 0.0)
        if confidence >= _MIN_CONFIDENCE and language in self._rows:
            named = self._rows[language]
            return replace(named, stop_words=frozenset()) if named.relatives else named
        return self._rows["unspaced" if candidate.is_unspaced else "default"]

    def _by_words(self, words: list[str]) -> str | None:
        """Return the first language of whose stop words half have come: mostly within the first few lines."""
        seen: set[str] = set()
        counts: dict[str, int] = {}
        for word in filter(self._languages_of.__contains__, words):
            if word not in seen:
                seen.add(word)
                for name in self._languages_of[word]:
                    counts[name] = counts.get(name, 0) + 1
                    if counts[name] >= _CLEAR_SHARE * len(self._rows[name].stop_words):
                        return name
        return None

    def _by_units(self, text: str) -> str | None:
        characters = set(text)  # to look for no word of another script in all of the text
        rows = ((name, self._rows[name].stop_words) for name in self._unspaced)
        share, name = max(
            (sum(word[0] in characters and word in text for word in words) / len(words), name) for name, words in rows
        )
        return name if share >= _CLEAR_SHARE else None
