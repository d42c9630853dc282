"""What a corpus keeps by licence, language and kind, and from when, for each source.

Documents of both splits; bytes as trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from headwater.corpus.balance import Count

MARKS = ("licence", "language", "kind")
OTHER = "other"
_MAX_VALUES = 500  # of a mark in a source: metadata of strangers may hold anything
_MAX_CHARACTERS = 200
_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?(?![^T])")
DATES = "dates"
_METADATA = b'"metadata":{'  # ends the line; inside a string of JSON its quotes would be escaped, as those of a mark


class KeptBy:
    """Counts documents by what their metadata says of them; "unknown" where it says nothing."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, dict[str, Count]]] = {mark: {} for mark in MARKS}
        self._dates: dict[str, dict[str, str]] = {}

    def add_(self, source: str, line: bytes, num_bytes: int) -> None:
        """Count a document by its line in a shard (corpus.shards)."""
        metadata = line[line.rfind(_METADATA) :]
        for mark in MARKS:
            self._count_(mark, source, _value(metadata, mark)).add_(1, num_bytes)
        if date := _DATE.match(_value(metadata, "date")):
            self._date_(source, date.group(), date.group())

    def _date_(self, source: str, first: str, last: str) -> None:
        dates = self._dates.setdefault(source, {"first": first, "last": last})
        dates["first"], dates["last"] = min(dates["first"], first), max(dates["last"], last)

    def _count_(self, mark: str, source: str, value: str) -> Count:
        counts = self._counts[mark].setdefault(source, {})
        return counts.setdefault(value if value in counts or len(counts) < _MAX_VALUES else OTHER, Count())

    def merge_(self, table: Mapping[str, Any]) -> None:
        """Add what `as_dict` wrote."""
        for source, dates in table[DATES].items():
            self._date_(source, dates["first"], dates["last"])
        for mark in MARKS:
            for source, counts in table[mark].items():
                for value, count in counts.items():
                    self._count_(mark, source, value).merge_(count)

    def as_dict(self) -> dict[str, Any]:
        """Return {mark: {source: {value: {documents, bytes}}}, dates: {source: {first, last}}}."""
        counted = {
            mark: {
                source: {value: counts[value].as_dict() for value in sorted(counts)}
                for source, counts in sorted(sources.items())
            }
            for mark, sources in self._counts.items()
        }
        return {**counted, DATES: {source: self._dates[source] for source in sorted(self._dates)}}


def _value(metadata: bytes, mark: str) -> str:
    """Return what a document's metadata says of a mark, found without parsing anything else."""
    sign = f'"{mark}":"'.encode()
    at = metadata.rfind(sign)
    if at < 0:
        return "unknown"
    try:
        value, _ = json.JSONDecoder().raw_decode(metadata[at + len(sign) - 1 :].decode())
    except ValueError:
        return "unknown"
    return str(value)[:_MAX_CHARACTERS] or "unknown"
