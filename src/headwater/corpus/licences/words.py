"""The words of a text, and what is looked for among them: the phrases of phrases.toml, the names of the SPDX list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from headwater.corpus.toml_tables import toml_table

_FOLDER = files("headwater.corpus.licences")
_WORD = r"[^\W_]+\+?"
_ADDRESS = r"(?:https?://|www\.)[^\s>)\"]+|[^\s<(]+@[^\s>)]+|<[^<>\n]+ (?:at|\[at\]|\(at\)) [^<>\n]+>"
_PATH = (
    r"`[^`\n]+`|\w+(?:[-/_.]+\w+)+(?:\+|/\*?)?|\w+/\*"  # of files, or a name as packages have them: node-byline, io.js
)
_MARKUP = r"</?(?:a|b|br|code|div|em|h\d|i|li|ol|p|pre|span|strong|table|td|tr|ul)\b[^>]*>|<!--|&\w+;|\]\((?=#)"
_ABBREVIATED = r"(?<!\b[A-Z])(?<!\bInc)(?<!\bLtd)(?<!\bCorp)(?<!\bCo)(?<!\bDr)(?<!\bal)"
# of a sentence, a clause, a comment; a line about who holds the rights, or who wrote it, is one by itself
_LINES_END = r"\n[^\w\n]*(?:\n|(?=@\w|Licen[sc]ed\b|Authors?\b|[Cc]opyright\b(?! (?:notice|holder|owner|law))))"
# so is a licence's name: in a line, in brackets, or before who holds the rights
_BEHIND_NAME = r"[^\w\n]*(?:\n|$)|\W{0,3}(?:[)|]|\(c\)|©|<|https?:|[Cc]opyright)"
_STATED = rf"(?!Under|The|See|An?\b)[A-Z\d][\w.-]* (?:[\w.-]+ ){{0,3}}(?i:licen[sc]e)(?:{_BEHIND_NAME})"
_NAME = (
    rf"(?:\n[^\w\n]*|[|(,–—-] ?)(?={_STATED})"
    r"|(?<=[Ll]icen[sc]e)(?=\W{1,4}(?:\(c\)|©|<?https?:|[Cc]opyright))|\|"
)
_END = rf"{_ABBREVIATED}\.(?=\W*\s|\W*$)|[;:!?](?=\s|$)|{_LINES_END}|{_NAME}|\*/|\"{{3}}|'{{3}}"
_TOKEN = re.compile(rf"(?P<markup>{_MARKUP})|(?P<address>{_ADDRESS})|(?P<path>{_PATH})|(?P<word>{_WORD})|{_END}")
_SPELT = re.compile(_WORD)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text in lower case, spelt as most of the SPDX list is; "GPLv3+" keeps its sign.

    `starts` are their characters; `sentences` number the sentence, or the clause, that each is of; `kinds` are
    "address", "path", "name" (with a capital, a digit or a hyphen) and "plain".
    """

    words: list[str]
    starts: list[int]
    sentences: list[int]
    kinds: list[str]


def words_of(text: str) -> Words:
    found = Words([], [], [], [])
    number = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        number += kind is None
        if kind not in ("address", "path", "word"):
            continue
        if kind == "path" and match.group().replace("-", "").isalnum():
            kind = "name"
        for word in _SPELT.finditer(match.group()):
            spelt = word.group()
            found.words.append(spelt.lower().replace("licence", "license"))
            found.starts.append(match.start() + word.start())
            found.sentences.append(number)
            is_plain = spelt[0].islower() and not any(map(str.isdigit, spelt))
            found.kinds.append(kind if kind != "word" else "plain" if is_plain else "name")
    return found


def is_caseless(word: str) -> bool:
    """Return whether a word is of a script without capitals, in which names look like all other words."""
    return any(letter.isalpha() and letter.lower() == letter.upper() for letter in word)


@cache
def phrases() -> dict[str, Any]:
    """Return what phrases.toml lists: parts of patterns, and sets of words."""
    table = toml_table("headwater.corpus.licences", "phrases")
    return {name: frozenset(listed.split()) if isinstance(listed, str) else listed for name, listed in table.items()}


@cache
def listed_names() -> tuple[tuple[str, str], ...]:
    """Return the identifier and the name of each licence of the SPDX list."""
    lines = (_FOLDER / "listed_names.tsv").read_text(encoding="utf-8").splitlines()
    return tuple((line.split("\t")[0], line.split("\t")[1]) for line in lines)


@cache
def finder(*names: str, start: str = r"\b", end: str = r"\b") -> re.Pattern[str]:
    """Return what finds a phrase of one of these lists, by default as whole words."""
    return re.compile(f"{start}{alternatives(*names)}{end}")


def pattern_of(name: str) -> re.Pattern[str]:
    """Return what finds a phrase of a list that says itself where its words begin and end."""
    return finder(name, start="", end="")


def alternatives(*names: str) -> str:
    return f"(?:{'|'.join(each for name in names for each in phrases()[name])})"
