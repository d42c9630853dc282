"""Joining the lines of a paragraph: a space between them, and the hyphens that only the line's end asked for undone."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST = re.compile(r"([^\W\d_]+)[-\u2010\u00ad]$")
_FIRST = re.compile(r"[^\W\d_]+")
_DASHES = ("-", "\u2010", "\u2014", "\u2013")
_SUSPENDING = ("and", "or", "to")


def words_within(lines: Iterable[str]) -> set[str]:
    """Return the words of a text, in lower case, but for what the end of a line may have cut."""
    return {word for line in lines for word in _WORD.findall(_LAST.sub("", line.lower()))}


def join_lines(lines: list[tuple[str, bool]], words: set[str]) -> str:
    """Join lines, each with whether its maker said that it ends within a word.

    A hyphen at the end of a line goes where the text has the joined word elsewhere, or its maker said so and the text
    doesn't have it with a hyphen; otherwise it stays, without a space.
    """
    parts: list[str] = []
    for number, (text, is_cut) in enumerate(lines):
        if number + 1 == len(lines):
            parts.append(text)
            break
        following = lines[number + 1][0]
        parts.append(_end(text, following, is_cut, words))
    return "".join(parts)


def _end(text: str, following: str, is_cut: bool, words: set[str]) -> str:
    """Return a line as it stands before the next one: its hyphen, and the space behind it, as they should be."""
    last = _LAST.search(text if not is_cut or text.endswith(("-", "\u2010")) else f"{text}-")
    first = _FIRST.match(following)
    if last is None or first is None or not first.group().islower():
        return text if _is_dashed(text, following) else f"{text} "
    if first.group() in _SUSPENDING and not is_cut:
        return f"{text} "  # two- and three-year-olds
    before = text[: last.start()]
    left, right = last[1].lower(), first.group()
    is_one_word = left + right in words or (is_cut and f"{left}-{right}" not in words)
    return before + last[1] + ("" if is_one_word else "-")


def _is_dashed(text: str, following: str) -> bool:
    """Return whether a line ends with a dash that stands between two words without spaces."""
    body = text.rstrip("-\u2010\u2014\u2013")
    if following.startswith("--") and following[2:3].isalnum():
        return text[-1:].isalnum()
    return text.endswith(_DASHES) and body[-1:].strip() != "" and following[:1].isalnum()
