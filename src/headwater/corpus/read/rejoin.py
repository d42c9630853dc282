"""Joining the lines of a paragraph: a space between them, and the hyphens that only the line's end asked for undone."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST = re.compile(r"([^\W\d_]+)[-\u2010\u00ad]$")
_FIRST = re.compile(r"[^\W\d_]+")
_DASHES = ("-", "\u2010", "\u2014", "\u2013")
_SUSPENDING = ("and", "or", "to")


class Vocabulary:
    """The words of a text, in lower case, as they stand within its lines."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._words: set[str] = set()
        for line in lines:
            # what the end of a line may have cut is no evidence
            self._words.update(_WORD.findall(_LAST.sub("", line.lower())))

    def joined(self, left: str, right: str) -> str | None:
        """Return `left` and `right` as the text spells them elsewhere, with a hyphen or without; None if it doesn't."""
        whole, with_hyphen = left + right, f"{left}-{right}"
        if whole.lower() in self._words:
            return whole
        return with_hyphen if with_hyphen.lower() in self._words else None


def join_lines(lines: list[tuple[str, bool]], vocabulary: Vocabulary) -> str:
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
        parts.append(_end(text, following, is_cut, vocabulary))
    return "".join(parts)


def _end(text: str, following: str, is_cut: bool, vocabulary: Vocabulary) -> str:
    """Return a line as it stands before the next one: its hyphen, and the space behind it, as they should be."""
    last = _LAST.search(text if not is_cut or text.endswith(("-", "\u2010")) else f"{text}-")
    first = _FIRST.match(following)
    if last is None or first is None or not first.group().islower():
        return text if _is_dashed(text, following) else f"{text} "
    if first.group() in _SUSPENDING and not is_cut:
        return f"{text} "  # two- and three-year-olds
    before = text[: last.start()]
    joined = vocabulary.joined(last[1], first.group())
    if joined is None:
        return before + last[1] + ("" if is_cut else "-")
    return before + last[1] + ("-" if "-" in joined else "")


def _is_dashed(text: str, following: str) -> bool:
    """Return whether a line ends with a dash that stands between two words without spaces."""
    body = text.rstrip("-\u2010\u2014\u2013")
    if following.startswith("--") and following[2:3].isalnum():
        return text[-1:].isalnum()
    return text.endswith(_DASHES) and body[-1:].strip() != "" and following[:1].isalnum()
