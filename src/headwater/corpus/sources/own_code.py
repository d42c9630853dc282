"""Settings of formats and measures of a user's own: the code that a run file names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from headwater.core.code import find_code
from headwater.core.config import Settings

FORMATS_GROUP, MEASURES_GROUP = "headwater.formats", "headwater.measures"
"Entry points by which an installed package adds formats, and measures."
OUR_MEASURES = ("statistics", "keys", "language", "passages")
FASTTEXT, TRANSFORMERS = "fasttext", "transformers"
_ITS_MODEL = {FASTTEXT: "a file (.bin, .ftz)", TRANSFORMERS: "a folder with config.json and model.safetensors"}


class CodeSettings(Settings):
    """A class of your own. A run file that names code runs that code."""

    model_config = ConfigDict(serialize_by_alias=True)

    class_: str = Field(alias="class")
    """mine.py:Name, a class in a file beside the run file (docs/corpus.md), or the name of one that a package adds."""

    @field_validator("class_")
    @classmethod
    def _names_code(cls, reference: str) -> str:
        return str(find_code(reference, Path()))


class FormatSettings(CodeSettings):
    """A format of your own: what reads files with its suffixes."""


class MeasureSettings(CodeSettings):
    """A measure: a class of your own, derived from headwater.corpus.Measure, or a classifier that others trained."""

    class_: str = Field(alias="class")
    """fasttext or transformers: a classifier by its `model`. Or a class of your own: mine.py:Name, or a package's."""
    model: str | None = None
    """Of fasttext a file (.bin, .ftz), of transformers a folder with config.json and model.safetensors."""
    label: str | None = None
    """The column NAME is the probability of this label. Unset: NAME is the likeliest label and NAME_probability its
    probability; of a model of transformers with one output NAME is that number."""
    kinds: list[str] | None = Field(default=None, min_length=1)
    """Kinds of text that the classifier is asked about; unset: all."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """In what a model of transformers computes."""
    gpus: float = Field(default=0, ge=0)
    """GPUs that a model of transformers wants; 0: it runs on the processor."""

    @field_validator("model")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        return None if path is None else os.path.abspath(Path(path).expanduser())  # for processes that start elsewhere

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> MeasureSettings:
        fields = type(self).model_fields
        if self.class_ in _ITS_MODEL and self.model is None:
            raise ValueError(f"class = {self.class_!r} needs model, {_ITS_MODEL[self.class_]}")
        of_ours = {FASTTEXT: ("dtype", "gpus"), TRANSFORMERS: ()}
        idle = of_ours.get(self.class_, ("model", "label", "kinds", "dtype", "gpus"))
        if is_set := [name for name in idle if getattr(self, name) != fields[name].default]:
            raise ValueError(f"{is_set[0]} has no effect on class = {self.class_!r}; leave it out")
        return self


def _fit_for_files(measures: dict[str, MeasureSettings]) -> dict[str, MeasureSettings]:
    for name in measures:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            raise ValueError(f"measure name {name!r}: use small letters, digits and _; choose another")
        if name in OUR_MEASURES:
            raise ValueError(f"measure name {name!r} is one of headwater's; choose another")
    return measures


OwnMeasures = Annotated[dict[str, MeasureSettings], AfterValidator(_fit_for_files)]


class RangeSettings(Settings):
    """The values of a column that a document may have; one without a value has none that is wrong."""

    min: float | None = None
    """Documents with less are dropped as COLUMN_too_low."""
    max: float | None = None
    """Documents with more are dropped as COLUMN_too_high."""

    @model_validator(mode="after")
    def _holds_a_value(self) -> RangeSettings:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min = {self.min:g} is more than max = {self.max:g}: every document would be dropped")
        return self


def _named(formats: dict[str, FormatSettings]) -> dict[str, FormatSettings]:
    for name in formats:
        from headwater.corpus.sources.formats import FORMATS  # for the few that name one

        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in FORMATS:
            why = "is one of headwater's" if name in FORMATS else "use small letters, digits and _"
            raise ValueError(f"format name {name!r}: {why}; choose another")
    return formats


OwnFormats = Annotated[dict[str, FormatSettings], AfterValidator(_named)]
