"""What a corpus keeps by licence, language and kind, for each source; documents of both splits, bytes as trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from headwater.corpus.account import Count

MARKS = ("licence", "language", "kind")
OTHER = "other"
_MAX_VALUES = 500  # of a mark in a source: metadata of strangers may hold anything
_MAX_CHARACTERS = 200


class KeptBy:
    """Counts documents by what their metadata says of them; "unknown" where it says nothing."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, dict[str, Count]]] = {mark: {} for mark in MARKS}

    def add_(self, source: str, line: bytes, num_bytes: int) -> None:
        """Count a document by its line in a shard (corpus.shards)."""
        for mark in MARKS:
            self._count_(mark, source, _value(line, mark)).add_(1, num_bytes)

    def _count_(self, mark: str, source: str, value: str) -> Count:
        counts = self._counts[mark].setdefault(source, {})
        return counts.setdefault(value if value in counts or len(counts) < _MAX_VALUES else OTHER, Count())

    def merge_(self, table: Mapping[str, Mapping[str, Mapping[str, dict[str, int]]]]) -> None:
        """Add what `as_dict` wrote."""
        for mark, sources in table.items():
            for source, counts in sources.items():
                for value, count in counts.items():
                    self._count_(mark, source, value).merge_(count)

    def as_dict(self) -> dict[str, Any]:
        """Return {mark: {source: {value: {documents, bytes}}}}."""
        return {
            mark: {
                source: {value: counts[value].as_dict() for value in sorted(counts)}
                for source, counts in sorted(sources.items())
            }
            for mark, sources in self._counts.items()
        }


def _value(line: bytes, mark: str) -> str:
    """Return what a document's metadata says of a mark.

    They end the line, so that no text is parsed; inside a string of JSON the quotes of `"mark":"` would be escaped.
    """
    sign = f'"{mark}":"'.encode()
    at = line.rfind(sign)
    if at < 0:
        return "unknown"
    try:
        value, _ = json.JSONDecoder().raw_decode(line[at + len(sign) - 1 :].decode())
    except ValueError:
        return "unknown"
    return str(value)[:_MAX_CHARACTERS] or "unknown"
