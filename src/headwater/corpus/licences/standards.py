"""The licences of the SPDX list: identifiers, names and texts, as data; and the phrases that count beside them."""

from __future__ import annotations

import lzma
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FILE = "standard_texts.xz"  # made by benchmarks/corpus/standard_licences.py
_WORD = re.compile(r"[^\W_]+\+?")
_APART = re.compile(r"\b(sub|non)[-\s]+(?=licen[cs]|infring)")


@dataclass(frozen=True, slots=True)
class Standard:
    """A licence as the list has it; `words` are empty where another identifier stands for the same text."""

    identifier: str
    name: str
    words: tuple[str, ...]


def license_words(text: str) -> list[str]:
    """Return the words of a text in lower case, spelt as most of the list is; "GPLv3+" keeps its sign."""
    return _WORD.findall(_APART.sub(r"\1", text.lower()).replace("licence", "license"))


@cache
def standards() -> tuple[Standard, ...]:
    data = lzma.decompress((files("headwater.corpus.licences") / FILE).read_bytes()).decode()
    listed = (line.split("\t") for line in data.split("\n"))
    return tuple(Standard(identifier, name, tuple(words.split())) for identifier, name, words in listed)


@cache
def phrases() -> dict[str, Any]:
    """Return what phrases.toml lists: parts of patterns, and sets of words."""
    table = tomllib.loads((files("headwater.corpus.licences") / "phrases.toml").read_text(encoding="utf-8"))
    return {name: frozenset(listed.split()) if isinstance(listed, str) else listed for name, listed in table.items()}


@cache
def finder(*names: str, start: str = r"\b", end: str = r"\b") -> re.Pattern[str]:
    """Return what finds a phrase of one of these lists, by default as whole words."""
    return re.compile(f"{start}{alternatives(*names)}{end}")


def alternatives(*names: str) -> str:
    return f"(?:{'|'.join(each for name in names for each in phrases()[name])})"
