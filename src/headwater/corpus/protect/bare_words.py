"""A text as words alone, without case, punctuation and line breaks: what is compared to find the same text again.

Letters and digits make words, and so does every character beyond ASCII but spaces and punctuation; all else only
separates them. Each character of a script without spaces is a word.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Sequence

import numpy as np

from headwater.corpus.scripts import UNSPACED
from headwater.corpus.words import WordHasher

_LETTERS = {*(string.ascii_letters + string.digits).encode(), *range(128, 256)}
_ASCII = bytes(byte if byte in _LETTERS else 32 for byte in range(256)).lower()
# Latin-1's signs (but not its letters and ª º), the blocks of general and of CJK punctuation, full-width signs
_SIGNS = (
    "\x80-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7\u1680\u2000-\u206f\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020"
    "\u3030\ufe10-\ufe1f\ufe30-\ufe6f\ufeff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_FOREIGN_SIGN = re.compile(f"[{_SIGNS}]")
_ALONE = re.compile(f"[{UNSPACED}]")
_WORD = re.compile(f"[{UNSPACED}]|[^\\x00-/:-@\\[-`{{-\\x7f{_SIGNS}{UNSPACED}]+")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|&#(?:[xX]([0-9a-fA-F]{1,6})|(\d{1,7}));")


def bare_words(text: str) -> list[bytes]:
    """Return the words of a text, in lower case, as UTF-8."""
    if text.isascii():
        return text.encode().translate(_ASCII).split()
    if has_unspaced(text):
        return [word.encode() for word in _WORD.findall(text.lower())]
    return _FOREIGN_SIGN.sub(" ", text).lower().encode().translate(_ASCII).split()


def has_unspaced(text: str) -> bool:
    """Return whether a text has a character of a script without spaces."""
    return not text.isascii() and _ALONE.search(text) is not None


def unspaced_fraction(text: str) -> float:
    """Return which part of the words of a text are single characters of a script without spaces."""
    return len(_ALONE.findall(text)) / len(_WORD.findall(text)) if has_unspaced(text) else 0.0


def unescaped(text: str) -> tuple[str, Sequence[int]]:
    """Return a text with characters in place of the escapes of JSON and XML, and where each stood; the last is its end.

    Programs write all of Chinese or Arabic so where they are told nothing else.
    """
    if "\\u" not in text and "&#" not in text:
        return text, range(len(text) + 1)
    parts, places, at = list[str](), list[int](), 0
    for match in _ESCAPE.finditer(text):
        code = int(match[1] or match[2] or match[3], 10 if match[3] else 16)
        is_character = code < 0xD800 or 0xE000 <= code <= sys.maxunicode
        parts += [text[at : match.start()], chr(code) if is_character else " "]
        places += range(at, match.start() + 1)
        at = match.end()
    return "".join([*parts, text[at:]]), [*places, *range(at, len(text) + 1)]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where each of the words that `bare_words` returns stands in the text."""
    return [match.span() for match in _WORD.finditer(text)]


def hashes_of(text: str, hasher: WordHasher) -> np.ndarray:
    """Return the uint64 hashes of the bare words of a text; the same on every machine."""
    return hasher.hash(bare_words(text))
