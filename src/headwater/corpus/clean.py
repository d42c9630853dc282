"""Cleaning: what no reader of the text would miss. Words, punctuation and markup are never changed."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

# C0 and C1 controls but tab and newline; byte order marks; the soft hyphen, which is a hint for line breaking.
# Zero-width joiners stay: Persian and the Indic scripts spell with them.
_INVISIBLE_ASCII = bytes({*range(32), 127} - {9, 10})
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\ufeff]")
_BLANK_LINES = re.compile(r"\n{4,}")

# accents in a row that are still put in order, which takes the square of their number: Unicode's own limit for texts
# that are normalised as they stream is 30 (UAX #15), no language stacks ten
_MAX_MARKS = 1000


def clean(text: str, kind: str) -> str:
    """Return the text as it is trained on.

    Line ends become \\n, invisible characters and trailing space go, more than two blank lines become two, and prose
    is put into Unicode normal form C. Code keeps its characters: a string literal means what it says. Cleaning
    twice changes nothing.
    """
    text = _visible(_line_ends(text))
    if kind != "code" and not text.isascii():
        text = _composed(text)
    if " \n" in text or "\t\n" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    if "\n\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n\n", text)
    return text.strip("\n").rstrip(" \t\n") if kind == "code" else text.strip()


def _composed(text: str) -> str:
    """Return normal form C; unchanged where a thousand accents stand in a row, as only an attack has them."""
    words = text.split()
    has_long = max(map(len, words), default=0) > _MAX_MARKS
    is_attack = has_long and any(_longest_marks(word) > _MAX_MARKS for word in words if len(word) > _MAX_MARKS)
    return text if is_attack else unicodedata.normalize("NFC", text)


def _longest_marks(text: str) -> int:
    runs = groupby(text, lambda character: unicodedata.combining(character) > 0)
    return max((sum(1 for _ in run) for is_marks, run in runs if is_marks), default=0)


def _line_ends(text: str) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x0b" in text or "\x0c" in text:  # vertical tab and page break, the latter alone on its line in old code
        text = text.replace("\x0c\n", "\n").replace("\x0c", "\n").replace("\x0b", "\n")
    return text


def _visible(text: str) -> str:
    if text.isascii():  # five times as fast as the regular expression
        return text.encode().translate(None, _INVISIBLE_ASCII).decode()
    return _INVISIBLE.sub("", text)
