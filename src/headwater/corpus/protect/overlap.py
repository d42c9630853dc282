"""Which runs of words a text shares with a collection of items: a sorted array of hashes behind a table of bits.

A hash of 64 bits is taken at its word. A corpus of 10^12 words against 10^7 runs meets by chance 10^12 × 10^7 / 2^64 =
0.5 times, and costs a sentence then; comparing the texts themselves would keep every evaluation set in memory.

Compared are words alone, without case, punctuation and line breaks: letters and digits make words, and so does every
character beyond ASCII but spaces and punctuation. Each character of a script without spaces is a word.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.corpus.scripts import UNSPACED
from headwater.corpus.words import WordHasher, runs_of

MAX_NAMED = 64  # items of one run, the first: a set's template is in all of them, and a text may hold it often
_BITS_PER_RUN = 4  # 2 to the power of it: then one run in 16 passes the bits for nothing, at 2 bytes a run of memory
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


@dataclass(frozen=True, slots=True)
class Shared:
    """Words [first, last) of a text stand in `item` too."""

    first: int
    last: int
    item: int


class _Table:
    """The runs of one length, sorted, each with its item; `bits` says quickly that a run is none of them."""

    def __init__(self, hashes: np.ndarray, items: np.ndarray, max_named: int) -> None:
        order = np.lexsort((items, hashes))
        hashes, items = hashes[order], items[order]
        is_new = np.ones(len(hashes), dtype=bool)  # an item of several texts may hold a run in more than one
        is_new[1:] = (hashes[1:] != hashes[:-1]) | (items[1:] != items[:-1])
        hashes, items = hashes[is_new], items[is_new]
        is_named = np.ones(len(hashes), dtype=bool)
        is_named[max_named:] = hashes[max_named:] != hashes[:-max_named]
        self._hashes, self._items = hashes[is_named], items[is_named]
        num_bits = max(int(len(hashes) - 1).bit_length() + _BITS_PER_RUN, 6)
        self._shift = np.uint64(64 - num_bits)
        self._bits = np.zeros(1 << (num_bits - 3), dtype=np.uint8)
        place = self._hashes >> self._shift
        np.bitwise_or.at(self._bits, place >> np.uint64(3), np.uint8(1) << (place & np.uint64(7)).astype(np.uint8))

    def find(self, runs: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield (place in `runs`, item) for every run that is in the table."""
        place = runs >> self._shift
        bit = self._bits[place >> np.uint64(3)] & (np.uint8(1) << (place & np.uint64(7)).astype(np.uint8))
        likely = np.flatnonzero(bit)
        first = np.searchsorted(self._hashes, runs[likely], side="left")
        last = np.searchsorted(self._hashes, runs[likely], side="right")
        for at in np.flatnonzero(first < last).tolist():
            for item in self._items[first[at] : last[at]].tolist():
                yield int(likely[at]), item


class OverlapIndex:
    """Finds the runs of words that a text shares with the items.

    Nearly all texts share none. They are told by what their runs begin with: as many words as the shortest run has.
    """

    def __init__(self, texts: Iterable[tuple[int, np.ndarray]], ngram_words: int, max_named: int = MAX_NAMED) -> None:
        """Index (item, word hashes of one of its texts); a text of fewer than `ngram_words` words is one run."""
        found = [(item, hashes, min(ngram_words, len(hashes))) for item, hashes in texts if len(hashes)]
        self._shortest = min((length for _, _, length in found), default=0)
        runs: dict[int, list[np.ndarray]] = {}
        items: dict[int, list[np.ndarray]] = {}
        beginnings = [np.empty(0, dtype=np.uint64)]
        for item, hashes, length in found:
            made = runs_of(hashes, length)
            beginnings.append(runs_of(hashes, self._shortest)[: len(made)])
            unique = np.unique(made)
            runs.setdefault(length, []).append(unique)
            items.setdefault(length, []).append(np.full(len(unique), item, dtype=np.int64))
        unique = np.unique(np.concatenate(beginnings))
        self._beginnings = _Table(unique, np.zeros(len(unique), dtype=np.int64), max_named)
        self._tables = {
            length: _Table(np.concatenate(runs[length]), np.concatenate(items[length]), max_named)
            for length in sorted(runs)
        }

    def find(self, hashes: np.ndarray) -> list[Shared]:
        """Return what a text, by its words' hashes, shares with the items: of one run the first `max_named`."""
        found: list[Shared] = []
        if not any(self._beginnings.find(runs_of(hashes, self._shortest))):
            return found
        for length, table in self._tables.items():
            found += [Shared(at, at + length, item) for at, item in table.find(runs_of(hashes, length))]
        return found


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
