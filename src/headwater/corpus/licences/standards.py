"""The licences of the SPDX list: identifiers, names and texts, as data."""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

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
