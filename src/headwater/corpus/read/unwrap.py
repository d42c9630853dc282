"""Undoing hard wraps: lines that only a typewriter's margin ended become paragraphs again; verse, tables, code stay.

A line was wrapped where the word that begins the next one would not have fitted on it. That holds for nearly every
line of wrapped prose and for few lines of anything else: the end of a verse comes where the verse ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST = re.compile(r"([^\W\d_]+)[-\u2010\u00ad]$")
_FIRST = re.compile(r"[^\W\d_]+")
_DASHES = ("-", "\u2010", "\u2014", "\u2013")
_SUSPENDING = ("and", "or", "to")
_MIN_WIDTH, _MAX_WIDTH = 50, 110  # of the lines of a wrapped text, in characters
_SLACK = 0.1  # of the width: typists and ragged margins fill a line only nearly
_MIN_FULL = 0.8  # of a block's lines but the last, that the next word would have made too long
_MAX_CAPITALS = 0.85  # of the lines that follow one in its block: nearly all lines of verse begin with a capital
_COLUMNS = re.compile(r"\S {3,}\S|\t|\S\s*\|\s*\S")
_CODE_END = re.compile(r"[;{}\\]$|^\s*(?:#|//|>>>|\$ )")
_ITEM = re.compile(r"\s*(?:[-*+•o]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_FIRST_WORD = re.compile(r"\s*(?:[^\s\w]*\w+[^\W\d]-(?=\w)|\S+)")


def unwrap(text: str) -> str:
    """Return the text with each wrapped paragraph on one line. What isn't wrapped prose stays as it is.

    A hyphen at the end of a line goes where the text has the joined word elsewhere; otherwise it stays, without a
    space. No other character but white space is lost.
    """
    blocks = _blocks(text)
    width = _width(blocks)
    if width is None:
        return text
    words = words_within(line for block in blocks for line in block)
    return "\n".join(line for block in blocks for line in _unwrapped(block, width, words))


def _blocks(text: str) -> list[list[str]]:
    """Return the lines of a text in blocks: those between blank lines, and the blank lines, each by itself."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip() and blocks[-1] and blocks[-1][0].strip():
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks[1:]


def _width(blocks: list[list[str]]) -> int | None:
    """Return the width that the text is wrapped to, or None where it isn't: short lines, or long ones."""
    lengths = sorted(len(line) for block in blocks for line in block[:-1])
    if not lengths:
        return None
    width = lengths[min(len(lengths) - 1, len(lengths) * 95 // 100)]
    return width if _MIN_WIDTH <= width <= _MAX_WIDTH else None


def _unwrapped(block: list[str], width: int, words: set[str]) -> Iterator[str]:
    if len(block) == 1 or _is_other(block):
        yield from block
        return
    for paragraph in _paragraphs(block):
        if len(paragraph) > 1 and _is_wrapped(paragraph, width):
            indent = paragraph[0][: len(paragraph[0]) - len(paragraph[0].lstrip())]
            lines = [(line.strip(), False) for line in paragraph]
            yield indent + join_lines(lines, words)
        else:
            yield from paragraph


def _is_other(block: list[str]) -> bool:
    """Return whether a block is a table or code."""
    columns = sum(_COLUMNS.search(line) is not None for line in block)
    code = sum(_CODE_END.search(line) is not None for line in block[:-1])  # a clause may end with a semicolon, too
    return columns > 0.3 * len(block) or code > 0.3 * (len(block) - 1)


def _paragraphs(block: list[str]) -> Iterator[list[str]]:
    """Yield the paragraphs of a block: each begins with an item's mark, or farther in than the line before it."""
    paragraph = [block[0]]
    for above, line in pairwise(block):
        begins_item = _ITEM.match(line) is not None and (_ITEM.match(paragraph[0]) or above.rstrip()[-1:] in ".:;!?")
        is_indented = _indent(line) > _indent(above) and not (len(paragraph) == 1 and _hangs(paragraph[0], line))
        if begins_item or is_indented:
            yield paragraph
            paragraph = [line]
        else:
            paragraph.append(line)
    yield paragraph


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _hangs(first: str, second: str) -> bool:
    """Return whether the second line of an item stands under the first word of the item."""
    return _ITEM.match(first) is not None and _indent(second) - _indent(first) <= 6


def _is_wrapped(paragraph: list[str], width: int) -> bool:
    """Return whether nearly every line was ended by the margin."""
    least = width - _SLACK * width
    full = capitals = 0
    for above, line in pairwise(paragraph):
        word = _FIRST_WORD.match(line)
        full += len(above) + 1 + len(word.group().strip() if word else "") > least
        capitals += line.lstrip()[:1].isupper()
    followed = len(paragraph) - 1
    if max(len(line) for line in paragraph) > 1.15 * width:
        return False  # lines of its own length: wrapped by nobody
    return full >= _MIN_FULL * followed and (followed < 3 or capitals <= _MAX_CAPITALS * followed)


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
