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
_WORD = r"[^\W_]+\+?"
_ADDRESS = r"(?:https?://|www\.)[^\s>)]+|[^\s<(]+@[^\s>)]+"
_END = r"[.;:!?](?=\s|$)|\n[^\w\n]*\n"  # of a sentence or a clause
_TOKEN = re.compile(rf"({_ADDRESS})|({_WORD})|{_END}")
# what is spelt apart, at the end of a line, too
_APART = re.compile(
    r"(?<=[^\W\d_])-[ \t]*\n[^\w\n]*(?=[^\W\d_])|(?:(?<=\bsub)|(?<=\bnon))[-\s]+(?=licen[cs]|infring)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Standard:
    """A licence as the list has it; `words` are empty where another identifier stands for the same text."""

    identifier: str
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text in lower case, spelt as most of the list is; "GPLv3+" keeps its sign.

    `clause` numbers the clause that each is of, `is_name` holds where one has a capital, or is of an address.
    """

    words: list[str]
    clause: list[int]
    is_name: list[bool]


def license_words(text: str) -> list[str]:
    return words_of(text).words


def words_of(text: str) -> Words:
    words: list[str] = []
    clause: list[int] = []
    is_name: list[bool] = []
    number = 0
    for address, word in _TOKEN.findall(_APART.sub("", text)):
        number += not (address or word)
        for each in re.findall(_WORD, address) if address else [word] if word else []:
            words.append(each.lower().replace("licence", "license"))
            clause.append(number)
            is_name.append(bool(address) or not each[0].islower())
    return Words(words, clause, is_name)


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
