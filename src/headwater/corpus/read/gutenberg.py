"""The header and the licence that Project Gutenberg puts around a book's text, and texts made in its manner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from headwater.corpus.document import num_bytes

_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]{0,300}\n", re.MULTILINE)
_END = re.compile(r"^(?:\*{3} ?)?END OF (?:THE |THIS )?PROJECT GUTENBERG[^\n]{0,300}$", re.MULTILINE | re.IGNORECASE)
_HEAD_CHARACTERS = 60_000  # in which the text begins, where it says so at all


class Boilerplate:
    """Takes boilerplate off a text that arrives in chunks, and counts what it took."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self.excerpt = ""

    def without(self, chunks: Iterable[str]) -> Iterator[str]:
        """Yield the text between the line that says where it starts and the one that says where it ends."""
        head: str | None = ""
        rest, is_over = "", False
        for chunk in chunks:
            if is_over:
                self._cut_(chunk)
                continue
            if head is not None:
                head += chunk
                if len(head) < _HEAD_CHARACTERS:
                    continue
                chunk, head = self._after_start_(head), None
            rest += chunk
            text, rest, is_over = self._before_end_(rest)
            yield text
        if head is not None:
            rest = self._after_start_(head)
        if not is_over:
            text, rest, _ = self._before_end_(rest)
            yield text + rest

    def _after_start_(self, head: str) -> str:
        found = _START.search(head, 0, _HEAD_CHARACTERS)
        if not found:
            return head
        self._cut_(head[: found.end()])
        return head[found.end() :]

    def _before_end_(self, text: str) -> tuple[str, str, bool]:
        """Return what may be given out of a text, the line that may continue, and whether the end was met."""
        found = _END.search(text)
        if found:
            self._cut_(text[found.start() :])
            return text[: found.start()], "", True
        last = text.rfind("\n") + 1
        if len(text) - last > 1000:  # no such line has that length
            last = len(text)
        return text[:last], text[last:], False

    def _cut_(self, text: str) -> None:
        self.excerpt = self.excerpt or text[:500]
        self.num_bytes += num_bytes(text)
