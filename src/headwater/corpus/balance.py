"""The balance sheet: every document read is kept or dropped with a reason, in documents and in bytes.

Two kinds of bytes: read = kept + dropped are those of the text as read; what lies in the corpus is cleaned text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headwater.corpus.toml_tables import keys_by_word

STAGES = ("reading", "protection", "quality", "duplicates")

_PROTECTION_PREFIXES = ("contaminated_", "redacted_")


def stages_of_reasons() -> dict[str, str]:
    """Return the stage of each reason that has one but reading."""
    return keys_by_word("headwater.corpus", "reasons", "stages")


def stage_of(reason: str) -> str:
    """Return the stage of a reason, one of STAGES."""
    return stages_of_reasons().get(reason, "protection" if reason.startswith(_PROTECTION_PREFIXES) else "reading")


def commonest_first(amounts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, Any]]:
    """Return reasons with their amounts: by documents, then by bytes."""
    return sorted(amounts.items(), key=lambda item: (-item[1]["documents"], -item[1]["bytes"], item[0]))


def dropped_by_stage(sheet: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {stage: {documents, bytes, reasons: {reason: {documents, bytes}}}} of a balance sheet, commonest first."""
    stages: dict[str, dict[str, Any]] = {stage: {"documents": 0, "bytes": 0, "reasons": {}} for stage in STAGES}
    for reason, amount in commonest_first(sheet["dropped"]):
        stage = stages[stage_of(reason)]
        stage["documents"] += amount["documents"]
        stage["bytes"] += amount["bytes"]
        stage["reasons"][reason] = amount
    return stages


@dataclass(slots=True)
class Count:
    """A number of documents and the UTF-8 bytes of their text."""

    documents: int = 0
    bytes: int = 0

    def add_(self, num_documents: int, num_bytes: int) -> None:
        self.documents += num_documents
        self.bytes += num_bytes

    def merge_(self, table: dict[str, int]) -> None:
        self.add_(table["documents"], table["bytes"])

    def as_dict(self) -> dict[str, int]:
        return {"documents": self.documents, "bytes": self.bytes}


@dataclass(slots=True)
class SourceBalance:
    """One source. Bytes are those of the text as read, before cleaning, so that both sides can be compared."""

    read: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    dropped: dict[str, Count] = field(default_factory=dict)

    def check(self, source: str) -> None:
        """Assert read = kept + dropped: a difference is a fault of ours, never of the input."""
        documents = self.kept.documents + sum(count.documents for count in self.dropped.values())
        num_bytes = self.kept.bytes + sum(count.bytes for count in self.dropped.values())
        assert (documents, num_bytes) == (self.read.documents, self.read.bytes), (
            f"the balance of {source} is off: read {self.read}, kept + dropped {documents} documents, {num_bytes} bytes"
        )

    def as_dict(self) -> dict[str, Any]:
        dropped = {reason: self.dropped[reason].as_dict() for reason in sorted(self.dropped)}
        return {"read": self.read.as_dict(), "kept": self.kept.as_dict(), "dropped": dropped}


class Balance:
    """The balance of a corpus, and what each split holds of it.

    A split's bytes are those of the cleaned text, which is what is trained on.
    """

    def __init__(self, sources: list[str]) -> None:
        self.sources = {name: SourceBalance() for name in sources}
        self.splits = {split: {name: Count() for name in sources} for split in ("train", "validation")}

    def read_(self, source: str, num_documents: int, num_bytes: int) -> None:
        self.sources[source].read.add_(num_documents, num_bytes)

    def keep_(self, source: str, num_documents: int, num_bytes: int) -> None:
        self.sources[source].kept.add_(num_documents, num_bytes)

    def drop_(self, source: str, reason: str, num_documents: int, num_bytes: int) -> None:
        self.sources[source].dropped.setdefault(reason, Count()).add_(num_documents, num_bytes)

    def place_(self, source: str, split: str, num_bytes: int) -> None:
        self.splits[split][source].add_(1, num_bytes)

    def merge_(self, table: dict[str, Any]) -> None:
        """Add a balance of some of the sources, as `as_dict` wrote it."""
        for name, sheet in table["sources"].items():
            source = self.sources[name]
            source.read.merge_(sheet["read"])
            source.kept.merge_(sheet["kept"])
            for reason, count in sheet["dropped"].items():
                source.dropped.setdefault(reason, Count()).merge_(count)
        for split, counts in table["splits"].items():
            for name, count in counts.items():
                self.splits[split][name].merge_(count)

    def check(self) -> None:
        for name, balance in self.sources.items():
            balance.check(name)
            train, validation = (self.splits[split][name].documents for split in ("train", "validation"))
            # the one document of which only the end is held out lies in both
            placed, kept = train + validation, balance.kept.documents
            is_right = placed == kept or (placed == kept + 1 and validation == 1)
            assert is_right, f"{name}: kept {kept} documents, placed {placed}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "sources": {name: balance.as_dict() for name, balance in self.sources.items()},
            "splits": {
                split: {name: count.as_dict() for name, count in counts.items()}
                for split, counts in self.splits.items()
            },
        }
