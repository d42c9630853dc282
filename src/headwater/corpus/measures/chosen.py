"""The measures of a corpus: ours, as far as its settings ask for them, and those of the user's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from headwater.core.code import digest_code, load_code
from headwater.core.errors import ConfigError
from headwater.core.files import digest_json
from headwater.corpus.measures.classifier import FastText
from headwater.corpus.measures.keys import Keys
from headwater.corpus.measures.language import Language
from headwater.corpus.measures.measure import Measure
from headwater.corpus.measures.passages import Passages
from headwater.corpus.measures.sequence_classifier import SequenceClassifier
from headwater.corpus.measures.statistics import Statistics, families_with_lines, settings_of_statistics
from headwater.corpus.sources.own_code import (
    FASTTEXT,
    MEASURES_GROUP,
    OUR_MEASURES,
    TRANSFORMERS,
    MeasureSettings,
)
from headwater.corpus.sources.settings import KINDS, CorpusSettings

OURS = STATISTICS, KEYS, LANGUAGE, PASSAGES = OUR_MEASURES
OF_KEYS = (KEYS, PASSAGES)
"Measures whose columns say nothing alone: they have no limits, and aren't shown."
CLASSIFIERS = {FASTTEXT: FastText, TRANSFORMERS: SequenceClassifier}
_OF_TEXTS = ("number", "id", "kind", "licence", "read_bytes", "left_bytes", "text_bytes", "broken", "value", "held_to")


@dataclass(frozen=True, slots=True)
class ChosenMeasure:
    """A measure of a corpus: its name, what its values depend on beside the texts, and how it is made in a process."""

    name: str
    depends_on: Mapping[str, Any]
    load: Callable[[], Measure]
    gpus: float = 0

    def key(self, texts_key: str) -> str:
        """Return the key of its values of the texts of this key."""
        return values_key(texts_key, self.depends_on)


def values_key(texts_key: str, depends_on: Mapping[str, Any]) -> str:
    """Return the key of a measure's values of the texts of a key, without the measure."""
    return digest_json({"texts": texts_key, **depends_on})


def chosen_measures(settings: CorpusSettings, inputs: Mapping[str, str]) -> list[ChosenMeasure]:
    """Return the measures that `settings` ask for; `inputs` are the digests of the models that some read."""
    model = inputs.get("(language model)", "")
    sites = {name: source.paths for name, source in settings.sources.items()}
    of_keys = {
        **settings.dedup.model_dump(mode="json", exclude={"exact", "min_similarity", "earlier", "passage_words"}),
        "seed": settings.seed,
        "sites": sites if settings.boilerplate is not None else None,
    }
    with_lines = families_with_lines(settings)
    statistics = {**settings_of_statistics(settings.rules, with_lines), "model": model}
    found = [
        _ours(STATISTICS, Statistics, partial(Statistics, settings.rules, with_lines), statistics),
        _ours(KEYS, Keys, partial(Keys, settings), of_keys),
    ]
    if settings.languages is not None:
        found.append(_ours(LANGUAGE, Language, partial(Language, settings.languages), {"model": model}))
    if settings.dedup.passage_words is not None:
        of_passages = settings.dedup.model_dump(include={"passage_words", "near_exempt_kinds"})
        found.append(_ours(PASSAGES, Passages, partial(Passages, settings.dedup), of_passages))
    columns = {*_OF_TEXTS, *(column for kind in (Statistics, Language, Passages) for column in kind.columns)}
    for name, own in settings.measures.items():
        load = partial(load_measure, name, own)
        measure = load()
        if known := columns.intersection(measure.columns):
            raise ConfigError(
                f"corpus.measures.{name}: there is a column {known.pop()!r} already; give it another name"
            )
        columns.update(measure.columns)
        facts: dict[str, Any] = {"version": measure.version}
        if own.class_ in CLASSIFIERS:
            facts |= {**own.model_dump(exclude={"model"}), "model": inputs[f"(measure {name})"]}
        else:
            facts["code"] = digest_code(own.class_, Path(), MEASURES_GROUP)
        found.append(ChosenMeasure(name, facts, load, measure.gpus))
    return found


def load_measure(name: str, own: MeasureSettings) -> Measure:
    """Return a classifier, or a measure of the user's own; raise ConfigError where its class can't be one."""
    setting = f"corpus.measures.{name}"
    if own.class_ in CLASSIFIERS:
        _require_kinds(f"{setting}.kinds", own.kinds)
        return CLASSIFIERS[own.class_](name, own)
    try:
        found = load_code(own.class_, Path(), MEASURES_GROUP)
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Measure)) or not found.columns:
        raise ConfigError(
            f"{setting}: {own.class_} is not a measure: it must be a class derived from headwater.corpus.Measure "
            "with `columns` and a method `measure`"
        )
    if odd := [column for column in found.columns if not re.fullmatch(r"[a-z][a-z0-9_]*", column)]:
        raise ConfigError(f"{setting}: {own.class_} has a column {odd[0]!r}: use small letters, digits and _")
    _require_kinds(f"{setting}: {own.class_}: kinds", found.kinds)
    try:
        return found()
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{setting}: {own.class_} can't be made without arguments: {what}") from error


def _require_kinds(setting: str, kinds: Sequence[str] | None) -> None:
    if unknown := set(kinds or ()) - set(KINDS):
        raise ConfigError(f"{setting} has {unknown.pop()!r}; use some of {', '.join(KINDS)}")


def _ours(name: str, kind: type[Measure], load: Callable[[], Measure], depends_on: Mapping[str, Any]) -> ChosenMeasure:
    return ChosenMeasure(name, {**depends_on, "measure": name, "version": kind.version}, load)
