"""Cleaning: what no reader of the text would miss. Words, punctuation and markup are never changed."""

from __future__ import annotations

import re
import unicodedata

# C0 and C1 controls but tab and newline; byte order marks; the soft hyphen, which is a hint for line breaking.
# Zero-width joiners stay: Persian and the Indic scripts spell with them.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\ufeff]")
_TRAILING_SPACE = re.compile(r"[ \t]+(?=\n|\Z)")
_BLANK_LINES = re.compile(r"\n{4,}")


def clean(text: str, kind: str) -> str:
    """Return the text as it is trained on.

    Line ends become \\n, invisible characters and trailing space go, more than two blank lines become two, and prose
    is put into Unicode normal form C. Code keeps its characters: a string literal means what it says. Cleaning
    twice changes nothing.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x0b" in text or "\x0c" in text:
        text = text.replace("\x0c\n", "\n").replace("\x0c", "\n").replace("\x0b", "\n")
    text = _INVISIBLE.sub("", text)
    text = _TRAILING_SPACE.sub("", text)
    if kind != "code" and not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _BLANK_LINES.sub("\n\n\n", text)
    return text.strip("\n") if kind == "code" else text.strip()
