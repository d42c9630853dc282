"""A text that is searched for several kinds of data: its runs of digits are found once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache, cached_property
from pathlib import Path

Span = tuple[int, int]  # [start, end) in characters

DATA = Path(__file__).parent / "data"
_RUN = re.compile(r"[0-9+(][0-9 ().+/-]{6,}+")
# digits of Arabic, Persian, Devanagari and full width; full-width signs, no-break space, hyphens
_D, _S = (
    "0-9\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\uff10-\uff19",
    " ().+/\uff08\uff09\uff0b\uff0d\u00a0\u202f\u2010-\u2013-",
)
_FOREIGN_RUN = re.compile(rf"[{_D}+(\uff0b\uff08][{_D}{_S}]{{6,}}+")
_MIN_DIGITS = 4


@cache
def listed(name: str) -> dict[str, None]:
    """Return the words of a file in the folder `data`, in order; lines that begin with # are comments."""
    lines = (DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return dict.fromkeys(word for line in lines if not line.startswith("#") for word in line.split())


class Scanned:
    """A text that several searches go through, for these kinds."""

    def __init__(self, text: str, kinds: Collection[str]) -> None:
        self.text = text
        self.kinds = kinds

    @cached_property
    def _runs(self) -> list[tuple[int, int, int]]:
        pattern = _RUN if self.text.isascii() else _FOREIGN_RUN
        counted = ((match, sum(map(str.isdigit, match.group()))) for match in pattern.finditer(self.text))
        return [(match.start(), match.end(), digits) for match, digits in counted if digits >= _MIN_DIGITS]

    def digit_runs(self, min_digits: int) -> Iterator[Span]:
        """Yield every run with that many digits or more (at least 4), and two characters after it, for patterns."""
        for start, end, digits in self._runs:
            if digits >= min_digits:
                yield start, min(end + 2, len(self.text))
