"""Keeping probes out of the training text: passages that match a held-out pattern are cut, or take the text along."""

from __future__ import annotations

import re
from collections.abc import Sequence

SHORT_CHARACTERS = 2000
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+|\n")


def withhold(text: str, patterns: Sequence[re.Pattern[str]]) -> tuple[str | None, str]:
    """Return a text in which no pattern matches, and what was cut out of it; None for a text to be dropped whole.

    A text shorter than 2000 characters is dropped whole. Of a longer one the sentences (or lines) that the match
    touches are cut, and the search starts again, since what now stands side by side may match too.
    """
    cut = []
    while match := first_match(text, patterns):
        if len(text) < SHORT_CHARACTERS:
            return None, ""
        start, end = passage(text, match.start(), match.end())
        cut.append(text[start:end])
        text = text[:start] + text[end:]
    return text, "".join(cut)


def first_match(text: str, patterns: Sequence[re.Pattern[str]]) -> re.Match[str] | None:
    return next((match for pattern in patterns if (match := pattern.search(text))), None)


def passage(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the bounds of the sentences or lines that text[start:end] lies in."""
    line_start = text.rfind("\n", 0, start) + 1
    begin = max((m.end() for m in _SENTENCE_END.finditer(text, line_start, start)), default=line_start)
    after = _SENTENCE_END.search(text, max(end - 1, start))
    return begin, (after.end() if after else len(text))
