"""What a corpus keeps by licence, language and kind, and from when, for each source.

Documents of both splits; bytes as trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from headwater.corpus.balance import Amount, add_, nothing

COLUMNS = ("licence", "language", "kind")
OTHER = "other"
_MAX_VALUES = 500  # of a column in a source: metadata of strangers may hold anything
_MAX_CHARACTERS = 200
_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?(?![^T])")
DATES = "dates"
_METADATA = b'"metadata":{'  # ends the line; inside a string of JSON its quotes would be escaped, as those of a column


class KeptBy:
    """Counts documents by what their metadata says of them; "unknown" where it says nothing."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, dict[str, Amount]]] = {column: {} for column in COLUMNS}
        self._dates: dict[str, dict[str, str]] = {}

    def add_(self, source: str, line: bytes, num_bytes: int, num_documents: int = 1) -> None:
        """Count a document by its line in a shard (corpus.shards); a part that is counted with another as none."""
        said = json.loads(b"{" + line[line.rfind(_METADATA) :])["metadata"]  # nothing else of the line is parsed
        for column in COLUMNS:
            value = said.get(column, "")[:_MAX_CHARACTERS] or "unknown"
            add_(self._count_(column, source, value), num_documents, num_bytes)
        if date := _DATE.match(said.get("date", "")):
            self._date_(source, date.group(), date.group())

    def _date_(self, source: str, first: str, last: str) -> None:
        dates = self._dates.setdefault(source, {"first": first, "last": last})
        dates["first"], dates["last"] = min(dates["first"], first), max(dates["last"], last)

    def _count_(self, column: str, source: str, value: str) -> Amount:
        counts = self._counts[column].setdefault(source, {})
        return counts.setdefault(value if value in counts or len(counts) < _MAX_VALUES else OTHER, nothing())

    def merge_(self, table: Mapping[str, Any]) -> None:
        """Add what `as_dict` wrote."""
        for source, dates in table[DATES].items():
            self._date_(source, dates["first"], dates["last"])
        for column in COLUMNS:
            for source, counts in table[column].items():
                for value, count in counts.items():
                    add_(self._count_(column, source, value), count["documents"], count["bytes"])

    def as_dict(self) -> dict[str, Any]:
        """Return {column: {source: {value: {documents, bytes}}}, dates: {source: {first, last}}}."""
        counted = {
            column: {source: dict(sorted(counts.items())) for source, counts in sorted(sources.items())}
            for column, sources in self._counts.items()
        }
        return {**counted, DATES: {source: self._dates[source] for source in sorted(self._dates)}}
