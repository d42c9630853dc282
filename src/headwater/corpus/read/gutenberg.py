"""The header and the licence that Project Gutenberg puts around a book's text, and texts made in its manner."""

from __future__ import annotations

import re

_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]{0,300}\n", re.MULTILINE)
_END = re.compile(r"^(?:\*{3} ?)?END OF (?:THE |THIS )?PROJECT GUTENBERG[^\n]{0,300}$", re.MULTILINE | re.IGNORECASE)
_HEAD_CHARACTERS = 60_000  # in which the text begins, where it says so at all


def without_boilerplate(text: str) -> tuple[str, str]:
    """Return what stands between the line that says where the text starts and the one where it ends, and the rest."""
    first = _START.search(text, 0, _HEAD_CHARACTERS)
    start = first.end() if first else 0
    last = _END.search(text, start)
    end = last.start() if last else len(text)
    return text[start:end], text[:start] + text[end:]
