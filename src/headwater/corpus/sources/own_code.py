"""Settings of formats and measures of a user's own: the code that a run file names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, field_validator

from headwater.core.code import find_code
from headwater.core.config import Settings

FORMATS_GROUP, MEASURES_GROUP = "headwater.formats", "headwater.measures"
"Entry points by which an installed package adds formats, and measures."
OUR_MEASURES = ("statistics", "keys", "language", "quality")


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
    """A measure of your own: a class derived from headwater.corpus.Measure."""


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


def _named(formats: dict[str, FormatSettings]) -> dict[str, FormatSettings]:
    for name in formats:
        from headwater.corpus.sources.formats import FORMATS  # for the few that name one

        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in FORMATS:
            why = "is one of headwater's" if name in FORMATS else "use small letters, digits and _"
            raise ValueError(f"format name {name!r}: {why}; choose another")
    return formats


OwnFormats = Annotated[dict[str, FormatSettings], AfterValidator(_named)]
