"""Cut a long text into parts that encode on their own to the same ids as the whole.

The pre-tokenizer never lets a token cross from a line end to a following character that is not white space, nor from
such a character to a following space, and its pattern depends on nothing before it: a cut there changes nothing. It
keeps the time linear and the memory small for a line of 200 MB, and lets one long document use every core.
"""

from __future__ import annotations

import re

MAX_PART_CHARS = 32_768

_AFTER_LINE_END = re.compile(r"\n(?=\S)")
_AFTER_LONE_LINE_END = re.compile(r"(?<=\S)\n(?=\S)")
_BEFORE_SPACE = re.compile(r"\S(?= )")


def cut(text: str, max_chars: int = MAX_PART_CHARS, *, lone_line_ends: bool = False) -> list[str]:
    """Return parts of at most `max_chars` characters whose concatenation is `text`.

    Only a stretch of `max_chars` characters with no safe place in it is cut at an unsafe one: it still decodes to
    the same text, by other ids than an uncut encoding would give. With `lone_line_ends` a text is cut behind a line end
    only where no white space comes before it.
    """
    after_line_end = _AFTER_LONE_LINE_END if lone_line_ends else _AFTER_LINE_END
    parts = []
    start = 0
    while len(text) - start > max_chars:
        stop = _last_safe_place(text, start, start + max_chars, after_line_end)
        parts.append(text[start:stop])
        start = stop
    if start < len(text):
        parts.append(text[start:])
    return parts


def _last_safe_place(text: str, start: int, limit: int, after_line_end: re.Pattern[str]) -> int:
    if text.find(" ", start, limit) < 0 and text.find("\n", start, limit) < 0:
        return limit  # most of a line of 200 MB without a space: not worth a search by pattern
    # the last quarter is tried first, so that one early line end doesn't make tiny parts
    for begin in (limit - (limit - start) // 4, start):
        for pattern in (after_line_end, _BEFORE_SPACE):
            places = [match.end() for match in pattern.finditer(text, begin, limit + 1) if match.end() <= limit]
            if places and places[-1] > start:
                return places[-1]
    return limit
