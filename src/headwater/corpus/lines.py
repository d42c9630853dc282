"""The lines of a page as its writer meant them, and what share of them has a given shape."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

BULLETS = ("-", "*", "•", "‣", "▪", "●", "○", "◦", "–", "·")
_CLOSING = "\"')]}»”’*_`"
_SENTENCE_ENDS = ".!?…。！？｡।؟۔։።"
_SENTENCE_END = re.compile(r"[.!?…؟][\"')\]”’»]*(?=\s|$)|[。！？｡।۔։።]")
_WRAPPED_CHARACTERS = 40  # a shorter line was not broken to fit a width


@dataclass(frozen=True, slots=True)
class LineShapes:
    """How many lines a text has, blank ones left out, how many have which shape, and the characters in some of them."""

    lines: int
    bullets: int
    ellipses: int
    characters: int
    short_characters: int
    sentence_characters: int


def meant_lines(text: str) -> list[str]:
    """Return the lines of a text, without the blank ones, with those that a hard wrap broke joined again.

    A line of 40 characters or more that doesn't end a sentence goes on in the next one if that begins with a small
    letter. A wrap before a capital letter stays a break: the rules, which count shares of lines, can bear some.
    """
    meant: list[str] = []
    goes_on = False
    for raw in text.split("\n"):
        line = raw.strip()
        if not line:
            goes_on = False
            continue
        if goes_on and line[0].islower():
            meant[-1] += " " + line
        else:
            meant.append(line)
        goes_on = len(line) >= _WRAPPED_CHARACTERS and line[-1] not in ".!?:;"
    return meant


def line_shapes(text: str, short_line_characters: int) -> LineShapes:
    """Return the shapes of a text's meant lines; one of at most `short_line_characters` is short."""
    lines = meant_lines(text)
    return LineShapes(
        lines=len(lines),
        bullets=sum(line.startswith(BULLETS) for line in lines),
        ellipses=sum(line.endswith(("...", "…")) for line in lines),
        characters=sum(map(len, lines)),
        short_characters=sum(len(line) for line in lines if len(line) <= short_line_characters),
        sentence_characters=sum(len(line) for line in lines if ends_sentence(line)),
    )


def ends_sentence(line: str) -> bool:
    """Return whether a line ends as a sentence does, a closing bracket or quotation mark after it or not."""
    if line[-1] in _CLOSING:
        line = line.rstrip(_CLOSING)
    return line[-1:] != "" and line[-1] in _SENTENCE_ENDS


def has_sentences(text: str, count: int) -> bool:
    """Return whether a text has `count` sentences: full stops or their like that white space or an end follows."""
    return sum(1 for _ in islice(_SENTENCE_END.finditer(text), count)) >= count


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
