"""Measures that ask a model: the language of a text, and how good a classifier holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.corpus.measures.classifier import label_scorer
from headwater.corpus.measures.language import EXEMPT_KINDS, LanguageModel
from headwater.corpus.measures.measure import Column, Measure
from headwater.corpus.sources.settings import QualitySettings
from headwater.corpus.step import Candidate


class Language(Measure):
    """The language of texts in one, and how likely it is. Raises DataError for a language that the model lacks."""

    columns = {
        "language": Column(str, "language, by ISO 639 code"),
        "language_confidence": Column(float, "probability of the language"),
    }

    def __init__(self, languages: Sequence[str]) -> None:
        self._model = LanguageModel()
        known = self._model.languages
        if unknown := sorted(set(languages) - known):
            raise DataError(
                f"corpus.languages has {', '.join(unknown)}, which the model doesn't know; it knows {len(known)} by "
                "their ISO 639-1 code, as en, de or zh, or ISO 639-3 where there is no other"
            )

    def measure_candidates(self, candidates: Sequence[Candidate]) -> Mapping[str, Sequence[Any]]:
        found = [self._of(candidate) for candidate in candidates]
        return {"language": [each[0] for each in found], "language_confidence": [each[1] for each in found]}

    def _of(self, candidate: Candidate) -> tuple[str | None, float | None]:
        document = candidate.document
        if document.kind in EXEMPT_KINDS or not document.text:
            return None, None
        return candidate.language(self._model.identify)


class Quality(Measure):
    """The probability that a model of fastText gives its label, of documents of the kinds it is asked about."""

    columns = {"quality": Column(float, "score")}

    def __init__(self, settings: QualitySettings) -> None:
        assert settings.classifier is not None
        self._score = label_scorer(Path(settings.classifier), settings.label)
        self._kinds = settings.kinds

    def measure_candidates(self, candidates: Sequence[Candidate]) -> Mapping[str, Sequence[Any]]:
        return {"quality": [self._of(candidate) for candidate in candidates]}

    def _of(self, candidate: Candidate) -> float | None:
        kind = candidate.document.kind
        applies = kind not in EXEMPT_KINDS if self._kinds is None else kind in self._kinds
        return self._score(candidate.document.text) if applies else None
