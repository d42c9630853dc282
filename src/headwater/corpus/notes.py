"""Words that steps note beside what they drop or cut, counted by reason over a whole corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

NoteTable = dict[str, dict[str, int]]
OTHER = "other"
_MAX_WORDS = 500
_OF_STRANGERS = "licence_not_allowed"  # its words are what documents say, which may be anything


class Notes:
    """How often each word was noted for each reason: once a document and word."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add_(self, reason: str, note: str) -> None:
        if note:
            for word in note.split():
                self._count_(reason, word, 1)

    def merge_(self, table: Mapping[str, Mapping[str, int]]) -> None:
        """Add notes as `as_dict` wrote them."""
        for reason, counts in table.items():
            for word, times in counts.items():
                self._count_(reason, word, times)

    def _count_(self, reason: str, word: str, times: int) -> None:
        counts = self._counts.setdefault(reason, Counter())
        is_counted = reason != _OF_STRANGERS or word in counts or len(counts) < _MAX_WORDS
        counts[word if is_counted else OTHER] += times

    def of(self, prefix: str) -> Counter[str]:
        """Return the words noted for reasons that begin with `prefix`, together."""
        return sum((counts for reason, counts in self._counts.items() if reason.startswith(prefix)), Counter[str]())

    def as_dict(self) -> NoteTable:
        return {reason: dict(sorted(counts.items())) for reason, counts in sorted(self._counts.items())}
