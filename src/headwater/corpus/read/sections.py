"""Cutting long texts at the best boundary near a size: paragraph, line, sentence, word; nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BOUNDARIES = ("\n\n", "\n", ". ", " ")


def cut_point(text: str, start: int, end: int) -> int:
    """Return where to cut in the second half of text[start:end]: after a paragraph, else a line, a sentence, a word."""
    middle = (start + end + 1) // 2
    for boundary in _BOUNDARIES:
        found = text.rfind(boundary, middle, end)
        if found >= 0:
            return found + len(boundary)
    return end


def sections(chunks: Iterable[str], max_characters: int) -> Iterator[str]:
    """Cut a text that arrives in chunks into sections of at most `max_characters`; joined, they are the text.

    The last two are of similar size, so that no crumb is left over.
    """
    rest = ""
    for chunk in chunks:
        rest += chunk
        start = 0
        while len(rest) - start > 2 * max_characters:
            end = cut_point(rest, start, start + max_characters)
            yield rest[start:end]
            start = end
        rest = rest[start:]
    while len(rest) > max_characters:
        end = cut_point(rest, 0, min(max_characters, len(rest) * 3 // 5))
        yield rest[:end]
        rest = rest[end:]
    if rest:
        yield rest
