"""Cutting long texts at the best boundary: paragraph, line, sentence, word; nothing is lost.

Of several boundaries that are as good, what follows them decides: texts that have a long passage in common are cut
at the same places in it, whatever stands before. So the sections of two editions of a book are the same, and found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import xxhash

_BOUNDARIES = tuple(map(re.compile, ("\n\n", "\n", r"\. ", " ")))
_FOLLOWING = 64  # characters behind a boundary that decide
_SECTIONS_AT_ONCE = 32  # as many as are cut in view of each other; a longer text is held a piece at a time


class CutPoints:
    """The places where a text may be cut."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._places = cache(self._find)

    def best(self, first: int, last: int) -> int:
        """Return where to cut from `first` to `last`: after a paragraph, else a line, a sentence, a word."""
        for boundary in _BOUNDARIES:
            ends, hashes = self._places(boundary)
            low, high = np.searchsorted(ends, [first, last + 1])
            if low < high:
                return int(ends[low + np.argmin(hashes[low:high])])
        return (first + last) // 2

    def _find(self, boundary: re.Pattern[str]) -> tuple[np.ndarray, np.ndarray]:
        text = self._text
        ends = [match.end() for match in boundary.finditer(text)]
        hashes = [xxhash.xxh3_64_intdigest(text[end : end + _FOLLOWING].encode()) for end in ends]
        return np.array(ends, dtype=np.int64), np.array(hashes, dtype=np.uint64)


def sections(chunks: Iterable[str], max_characters: int) -> Iterator[str]:
    """Cut a text that arrives in chunks into sections of at most `max_characters`; joined, they are the text.

    None is shorter than a quarter of that, unless the text is.
    """
    rest, at_once = "", _SECTIONS_AT_ONCE * max_characters
    for chunk in chunks:
        rest += chunk
        while len(rest) > 2 * at_once:
            end = CutPoints(rest[: at_once + _FOLLOWING]).best(at_once // 2, at_once)
            yield from _sections(rest[:end], max_characters)
            rest = rest[end:]
    yield from _sections(rest, max_characters)


def _sections(text: str, max_characters: int) -> Iterator[str]:
    """Cut at the best place of all, then each half at its best: a place depends on few others near it."""
    points, margin = CutPoints(text), max(1, max_characters // 4)
    waiting = [(0, len(text))] if text else []
    while waiting:
        start, end = waiting.pop()
        if end - start <= max_characters:
            yield text[start:end]
        else:
            middle = points.best(start + margin, end - margin)
            waiting += [(middle, end), (start, middle)]
