"""A text with the runs of digits in it, in which numbers of all kinds are looked for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cached_property

Span = tuple[int, int]  # [start, end) in characters

_RUN = re.compile(r"[0-9+(][0-9 ().+/-]{6,}+")
_MIN_DIGITS = 4


class Scanned:
    """A text that several searches go through, for these kinds; its runs of digits, spaces and signs are found once."""

    def __init__(self, text: str, kinds: Collection[str]) -> None:
        self.text = text
        self.kinds = kinds

    @cached_property
    def _runs(self) -> list[tuple[int, int, int]]:
        counted = ((match, sum(map(match.group().count, "0123456789"))) for match in _RUN.finditer(self.text))
        return [(match.start(), match.end(), digits) for match, digits in counted if digits >= _MIN_DIGITS]

    def digit_runs(self, min_digits: int) -> Iterator[Span]:
        """Yield every run with that many digits or more (at least 4), and the two characters after it.

        The two are for patterns, which must see what follows a number.
        """
        for start, end, digits in self._runs:
            if digits >= min_digits:
                yield start, min(end + 2, len(self.text))
