"""The almanac's sentences about countries, and those it never uses: frames.toml, which says what may stand in one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Frames:
    """Sentences with a place for what is said; `facts` by field, `held_out` by the name of a probe."""

    forward: list[str]
    reverse: list[str]
    pairs: list[str]
    list_lines: list[str]
    list_titles: list[str]
    held_out_patterns: list[str]
    held_out: dict[str, str]
    facts: dict[str, list[str]]


@cache
def frames() -> Frames:
    text = (resources.files(__package__) / "frames.toml").read_text(encoding="utf-8")
    return Frames(**tomllib.loads(text))
