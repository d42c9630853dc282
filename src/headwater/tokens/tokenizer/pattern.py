"""How text is cut into pieces before byte pairs are merged: headwater's own pattern, and the steps of any tokenizer.

It never lets a token cross from a line end to a following character that is not white space, nor from such a character
to a following space, and depends on nothing before it: a cut there changes nothing. Cutting long texts keeps the time
linear and the memory small for a line of 200 MB, and lets one long document use every core.
"""

from __future__ import annotations

import re
from typing import Any

# Qwen2's pattern: contractions, words with the space before them, single digits, punctuation, line ends, spaces
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

Step = tuple[Any, ...]
MAX_PART_CHARS = 32_768

_AFTER_LINE_END = re.compile(r"\n(?=\S)")
_AFTER_LONE_LINE_END = re.compile(r"(?<=\S)\n(?=\S)")
_BEFORE_SPACE = re.compile(r"\S(?= )")


def byte_of_character() -> dict[str, int]:
    """Return the byte behind each character of a byte-level vocabulary.

    Printable Latin-1 bytes stand for themselves; the others, in order, take the characters from U+0100 on (GPT-2).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + number): byte for number, byte in enumerate(others)}


def split_at(regex: str) -> Step:
    """Return the step that cuts text into the matches of an expression and what lies between them."""
    return ("Split", regex, "Isolated", False)


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raise ValueError for a key given twice, of which readers take different ones."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("an object in it has the same key twice")
    return table


BYTES_AS_CHARACTERS: Step = ("ByteLevel", False, False)


def steps_of(pre_tokenizer: Any) -> list[Step]:
    """Return the steps of a pre-tokenizer, or of a sequence of them, by what decides their effect."""
    inner = pre_tokenizer.get("pretokenizers") if isinstance(pre_tokenizer, dict) else None
    found: list[Step] = []
    for step in inner if isinstance(inner, list) else [pre_tokenizer]:
        if not isinstance(step, dict):
            return []
        if step.get("type") == "Split":
            pattern = step.get("pattern")
            regex = pattern.get("Regex") if isinstance(pattern, dict) else None
            found.append(("Split", regex, step.get("behavior"), step.get("invert")))
        elif step.get("type") == "Digits":
            found.append(("Digits", step.get("individual_digits")))
        else:
            found.append((step.get("type"), step.get("add_prefix_space"), step.get("use_regex", True)))
    return found


def cut(text: str, max_chars: int = MAX_PART_CHARS, *, lone_line_ends: bool = False) -> list[str]:
    """Return parts of at most `max_chars` characters whose concatenation is `text`, and that encode to the ids of it.

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
