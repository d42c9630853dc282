"""Words that steps note beside what they drop or cut, counted by reason over a whole corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

NoteTable = dict[str, dict[str, int]]


class Notes:
    """How often each word was noted for each reason: once a document and word."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add_(self, reason: str, note: str) -> None:
        if note:
            self._counts.setdefault(reason, Counter()).update(note.split())

    def merge_(self, table: Mapping[str, Mapping[str, int]]) -> None:
        """Add notes as `as_dict` wrote them."""
        for reason, counts in table.items():
            self._counts.setdefault(reason, Counter()).update(counts)

    def of(self, prefix: str) -> Counter[str]:
        """Return the words noted for reasons that begin with `prefix`, together."""
        return sum((counts for reason, counts in self._counts.items() if reason.startswith(prefix)), Counter[str]())

    def as_dict(self) -> NoteTable:
        return {reason: dict(sorted(counts.items())) for reason, counts in sorted(self._counts.items())}
