"""The lines of a page as its writer meant them, and what share of them has a given shape."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, repeat

from headwater.corpus.scripts import sentence_characters

BULLETS = ("-", "*", "•", "‣", "▪", "●", "○", "◦", "–", "·")
_WRAPPED_CHARACTERS = 40  # a shorter line was not broken to fit a width
_MAX_WIDTH = 120
_LEAST_BREAKS = 5


@dataclass(frozen=True, slots=True)
class LineShapes:
    """How many lines a text has, without blank ones, how many have which shape, and the characters in some of them."""

    lines: int
    bullets: int
    ellipses: int
    characters: int
    short_characters: int
    sentence_characters: int


def stripped_lines(text: str) -> list[str]:
    """Return the lines of a text without the white space around each."""
    return list(map(str.strip, text.split("\n")))


def meant_lines(lines: list[str]) -> list[str]:
    """Return a text's stripped lines, without the blank ones, with those that a hard wrap broke joined again.

    In a text that was wrapped to a width, a line is joined to the next where that one's first word had no room in it.
    In any other, a line of 40 characters or more that doesn't end a sentence continues in the next if that begins with
    a small letter.
    """
    width = wrap_width(lines)
    meant: list[str] = []
    joined: list[str] = []  # of one line
    before = ""
    for line in lines:
        if line:
            if joined:
                if _has_no_room(before, line, width) if width else _goes_on(before, line):
                    joined.append(line)
                    before = line
                    continue
                meant.append(joined[0] if len(joined) == 1 else " ".join(joined))
            joined = [line]
        elif joined:
            meant.append(joined[0] if len(joined) == 1 else " ".join(joined))
            joined = []
        before = line
    if joined:
        meant.append(" ".join(joined))
    return meant


def wrap_width(lines: list[str]) -> int:
    """Return the width to which a text was wrapped, 0 where it wasn't, as seven in ten of its line breaks say."""
    pairs = [(one, other) for one, other in pairwise(lines) if one and other and len(one) <= _MAX_WIDTH]
    if len(pairs) < _LEAST_BREAKS:
        return 0
    width = max(len(one) for one, _ in pairs)
    if width < _WRAPPED_CHARACTERS:
        return 0
    full = sum([_has_no_room(one, other, width) for one, other in pairs])
    return width if full >= 0.7 * len(pairs) else 0


def _has_no_room(line: str, after: str, width: int) -> bool:
    first = after.find(" ")
    return len(line) + 1 + (first if first > 0 else len(after)) > width


def _goes_on(line: str, after: str) -> bool:
    return len(line) >= _WRAPPED_CHARACTERS and line[-1] not in ".!?:;" and after[0].islower()


def line_shapes(lines: list[str], short_line_characters: int) -> LineShapes:
    """Return the shapes of a text's meant lines; one of at most `short_line_characters` is short."""
    lengths = list(map(len, lines))
    return LineShapes(
        lines=len(lines),
        bullets=sum(map(str.startswith, lines, repeat(BULLETS))),
        ellipses=sum(map(str.endswith, lines, repeat(("...", "…")))),
        characters=sum(lengths),
        short_characters=sum(length for length in lengths if length <= short_line_characters),
        sentence_characters=sentence_characters(lines),
    )


def cut_lines(text: str, phrases: list[str], max_characters: int = 200) -> tuple[str, str]:
    """Return the text without the short lines that hold one of `phrases` (in small letters), and those lines."""
    lowered = text.lower()
    if not any(phrase in lowered for phrase in phrases):
        return text, ""
    kept: list[str] = []
    cut: list[str] = []
    for line in text.split("\n"):
        low = line.lower()
        is_notice = len(line) <= max_characters and any(phrase in low for phrase in phrases)
        (cut if is_notice else kept).append(line)
    return "\n".join(kept), "\n".join(cut)
