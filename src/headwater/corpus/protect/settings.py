"""Settings of what protects: evaluation sets from being learned, people from being quoted, authors from being used.

Apart from the code that reads them, so that reading a run file loads neither numpy nor an evaluation set.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from headwater.config import Settings
from headwater.corpus.protect.spdx import is_allowable, known_names

BUILTIN_PROBES = "builtin:probes"
LEAST_MIN_WORDS = 2

RedactedKind = Literal["email", "phone", "ip_address", "iban", "card", "us_ssn", "private_key", "token", "password"]
REDACTED_KINDS: tuple[RedactedKind, ...] = get_args(RedactedKind)


class DecontaminateSettings(Settings):
    """Evaluation sets whose text is kept out of the corpus, found by runs of words that both share."""

    sets: dict[str, list[str]] = Field(min_length=1)
    """Files, folders and patterns of each set (JSONL, JSON, Parquet, text); "builtin:probes" for headwater's own."""
    fields: dict[str, list[str]] = {}
    """By set: the names of the fields whose strings are looked for. A set without an entry: all its strings."""
    ngram_words: int = Field(default=13, ge=4, le=50)
    """A run of this many words that a document and an item share is a hit."""
    min_words: int = Field(default=8, ge=LEAST_MIN_WORDS)
    """A text of fewer than `ngram_words` words is looked for as a whole; one of fewer than this isn't looked for."""
    action: Literal["mask", "drop"] = "mask"
    """mask: the sentences that a hit touches are cut out of a text of 2,000 characters or more; drop: all goes."""
    max_passages: int = Field(default=10, ge=1)
    """A document with more passages to cut is dropped whole."""
    max_cut_fraction: float = Field(default=0.5, gt=0, le=1)
    """A document of which a larger part would be cut is dropped whole."""

    @field_validator("sets")
    @classmethod
    def _plain_names(cls, sets: dict[str, list[str]]) -> dict[str, list[str]]:
        wrong = [name for name in sets if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)]
        if wrong:
            raise ValueError(f"set name {wrong[0]!r}: use small letters, digits and _, beginning with a letter")
        empty = [name for name, paths in sets.items() if not paths]
        if empty:
            raise ValueError(f"set {empty[0]!r} names no file; give it paths, or {BUILTIN_PROBES!r}")
        return sets

    @model_validator(mode="after")
    def _known_fields(self) -> DecontaminateSettings:
        unknown = sorted(set(self.fields) - set(self.sets))
        if unknown:
            raise ValueError(f"fields names {', '.join(unknown)}; sets: {', '.join(self.sets)}")
        if self.min_words > self.ngram_words:
            raise ValueError(f"min_words={self.min_words} is more than ngram_words={self.ngram_words}")
        return self

    def with_absolute_paths(self) -> DecontaminateSettings:
        """Return the same sets by paths that don't depend on the folder a process runs in."""
        sets = {
            name: [path if path == BUILTIN_PROBES else os.path.abspath(Path(path).expanduser()) for path in paths]
            for name, paths in self.sets.items()
        }
        return self.model_copy(update={"sets": sets})


class RedactSettings(Settings):
    """Personal data and secrets that give way to placeholders (<EMAIL>); names and postal addresses are not found."""

    kinds: list[RedactedKind] = Field(default=list(REDACTED_KINDS), min_length=1)
    """email; phone (international, US); ip_address (public); iban; card; us_ssn; private_key; token (API); password."""


class LicenceSettings(Settings):
    """Every document's licence is found out and written beside it; those of other licences may be dropped."""

    allow: list[str] | None = Field(default=None, min_length=1)
    """SPDX identifiers, groups (permissive, copyleft, public_domain), PD, unknown. Unset: any licence is kept."""

    @field_validator("allow")
    @classmethod
    def _known(cls, allow: list[str] | None) -> list[str] | None:
        wrong = [name for name in allow or [] if not is_allowable(name)]
        if wrong:
            by_lower = {name.lower(): name for name in known_names()}
            close = difflib.get_close_matches(wrong[0].lower(), by_lower, 1)
            hint = f"; did you mean {by_lower[close[0]]}?" if close else ""
            raise ValueError(
                f"{wrong[0]!r} is no licence known here and no group (permissive, copyleft, public_domain, unknown)"
                f"{hint}; one of your own is LicenseRef-…"
            )
        return allow
