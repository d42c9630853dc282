"""Classifiers that others trained, as measures: by models of fastText (Joulin et al. 2016).

Such models are what people publish to tell text worth keeping (DCLM's, of two labels) or its language (GlotLID's, of
two thousand). They are read by fasttext-predict, as the model that names languages is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.corpus.measures.language import PREFIX, load_model
from headwater.corpus.measures.measure import Column, Measure
from headwater.corpus.sources.own_code import MeasureSettings

_MORE_THAN_ALL_LABELS = 100_000


class FastText(Measure):
    """A model of fastText, loaded with the first text. Raises DataError for no model, and a label that it hasn't."""

    def __init__(self, name: str, settings: MeasureSettings) -> None:
        self._name, self._path, self.kinds = name, Path(settings.model or ""), settings.kinds
        self._label = None if settings.label is None else PREFIX + settings.label.removeprefix(PREFIX)
        self.columns = columns_of_labels(name, settings.label)

    def measure(self, texts: list[str]) -> Mapping[str, Sequence[Any]]:
        if self._label is not None:
            _, num_labels = self._loaded
            return {self._name: [self._predict(text, num_labels).get(self._label, 0.0) for text in texts]}
        found = [next(iter(self._predict(text, 1).items()), (None, None)) for text in texts]
        labels = [label and label.removeprefix(PREFIX) for label, _ in found]
        return dict(zip(self.columns, (labels, [probability for _, probability in found])))

    def _predict(self, text: str, num_labels: int) -> dict[str, float]:
        """Return the likeliest labels, with their probabilities, which sum to a bit more than 1."""
        found, probabilities = self._loaded[0].predict(" ".join(text.split()), k=num_labels, threshold=-1.0)
        return {label: min(float(each), 1.0) for label, each in zip(found, probabilities)}

    @cached_property
    def _loaded(self) -> tuple[Any, int]:
        """The model, and how many labels it has."""
        setting = f"corpus.measures.{self._name}"
        try:
            model = load_model(self._path, setting)
            labels, _ = model.predict("a", k=_MORE_THAN_ALL_LABELS, threshold=-1.0)  # also those of probability 0
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{setting}.model: {self._path} is no model of fastText ({error})") from error
        except MemoryError as error:  # also where other bytes are taken for sizes
            raise DataError(
                f"{setting}.model: {self._path} is no model of fastText, or takes more memory than a task may; "
                "raise corpus.engine.task_memory_bytes"
            ) from error
        require_label(setting, self._path, self._label, labels)
        return model, len(labels)


def columns_of_labels(name: str, label: str | None) -> dict[str, Column]:
    """Return the columns of a classifier: the probability of a label, or the likeliest one and its probability."""
    if label is not None:
        return {name: Column(float, f"probability of {label}")}
    return {name: Column(str, "likeliest label"), f"{name}_probability": Column(float, "its probability")}


def require_label(setting: str, path: Path, label: str | None, labels: Sequence[str]) -> None:
    if label is not None and label not in labels:
        has = ", ".join(sorted(each.removeprefix(PREFIX) for each in labels)[:20])
        raise DataError(f"{setting}.label: {path} has no label {label.removeprefix(PREFIX)!r}; set it to one of {has}")
