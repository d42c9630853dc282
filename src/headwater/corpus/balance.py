"""The balance sheet: every document read is kept or dropped with a reason, in documents and in bytes.

Two kinds of bytes: read = kept + dropped are those of the text as read; what lies in the corpus is cleaned text.
The sheet of what is kept, by licence, language and kind, counts both splits, in bytes as trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from headwater.corpus.toml_tables import keys_by_word

STAGES = ("reading", "protection", "quality", "duplicates")

_PROTECTION_PREFIXES = ("contaminated_", "redacted_")
LIMIT_SUFFIXES = ("_too_low", "_too_high")  # of reasons for which limits of columns drop documents
COLUMNS = ("licence", "language", "kind")
OTHER = "other"
_MAX_VALUES = 500  # of a column in a source: metadata of strangers may hold anything
_MAX_CHARACTERS = 200
_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?(?![^T])")
DATES = "dates"


def stages_of_reasons() -> dict[str, str]:
    """Return the stage of each reason that has one but reading."""
    return keys_by_word("headwater.corpus", "reasons", "stages")


def stage_of(reason: str) -> str:
    """Return the stage of a reason, one of STAGES."""
    if reason.endswith(LIMIT_SUFFIXES):
        return "quality"
    return stages_of_reasons().get(reason, "protection" if reason.startswith(_PROTECTION_PREFIXES) else "reading")


def commonest_first(amounts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, Any]]:
    """Return reasons with their amounts: by documents, then by bytes."""
    return sorted(amounts.items(), key=lambda item: (-item[1]["documents"], -item[1]["bytes"], item[0]))


def dropped_by_stage(sheet: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return {stage: {documents, bytes, reasons: {reason: {documents, bytes}}}} of a balance sheet, commonest first."""
    stages: dict[str, dict[str, Any]] = {stage: {**nothing(), "reasons": {}} for stage in STAGES}
    for reason, amount in commonest_first(sheet["dropped"]):
        stage = stages[stage_of(reason)]
        merge_(stage, amount)
        stage["reasons"][reason] = amount
    return stages


Amount = dict[str, int]
"Documents, and the UTF-8 bytes of their text."


def nothing() -> Amount:
    return {"documents": 0, "bytes": 0}


def add_(total: Amount, num_documents: int, num_bytes: int) -> None:
    total["documents"] += num_documents
    total["bytes"] += num_bytes


def sum_of(amounts: Iterable[Amount]) -> Amount:
    total = nothing()
    for amount in amounts:
        merge_(total, amount)
    return total


def merge_(total: dict[str, Any], table: Mapping[str, Any]) -> None:
    """Add the numbers in a table of tables to those of another under the same names."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            merge_(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value


class Balance:
    """The balance of a corpus, and what each split holds of it.

    `sources` has of each what was read, kept and dropped by reason, in bytes of the text as read, before cleaning, so
    that both sides can be compared. A split's bytes are those of the cleaned text, which is what is trained on.
    """

    def __init__(self, sources: list[str]) -> None:
        self.sources: dict[str, dict[str, Any]] = {
            name: {"read": nothing(), "kept": nothing(), "dropped": {}} for name in sources
        }
        self.splits = {split: {name: nothing() for name in sources} for split in ("train", "validation")}

    def read_(self, source: str, num_documents: int, num_bytes: int) -> None:
        add_(self.sources[source]["read"], num_documents, num_bytes)

    def keep_(self, source: str, num_documents: int, num_bytes: int) -> None:
        add_(self.sources[source]["kept"], num_documents, num_bytes)

    def drop_(self, source: str, reason: str, num_documents: int, num_bytes: int) -> None:
        add_(self.sources[source]["dropped"].setdefault(reason, nothing()), num_documents, num_bytes)

    def place_(self, source: str, split: str, num_bytes: int) -> None:
        add_(self.splits[split][source], 1, num_bytes)

    def merge_(self, table: dict[str, Any]) -> None:
        """Add a balance of some of the sources, as `as_dict` wrote it."""
        for name, sheet in table["sources"].items():  # of a source that is none of these: a KeyError
            merge_(self.sources[name], sheet)
        for split, amounts in table["splits"].items():
            for name, amount in amounts.items():
                merge_(self.splits[split][name], amount)

    def check(self) -> None:
        """Assert read = kept + dropped: a difference is a fault of ours, never of the input."""
        for name, sheet in self.sources.items():
            found = sum_of([sheet["kept"], *sheet["dropped"].values()])
            assert found == sheet["read"], f"the balance of {name} is off: read {sheet['read']}, kept + dropped {found}"
            train, validation = (self.splits[split][name]["documents"] for split in ("train", "validation"))
            # the one document of which only the end is held out lies in both
            placed, kept = train + validation, sheet["kept"]["documents"]
            is_right = placed == kept or (placed == kept + 1 and validation == 1)
            assert is_right, f"{name}: kept {kept} documents, placed {placed}"

    def as_dict(self) -> dict[str, Any]:
        """Return a copy, reasons in alphabetical order."""
        table = deepcopy({"sources": self.sources, "splits": self.splits})
        for sheet in table["sources"].values():
            sheet["dropped"] = dict(sorted(sheet["dropped"].items()))
        return table


class KeptBy:
    """Counts documents by what their metadata says of them; "unknown" where it says nothing."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, dict[str, Amount]]] = {column: {} for column in COLUMNS}
        self._dates: dict[str, dict[str, str]] = {}

    def add_(self, source: str, meta: Mapping[str, str], kind: str, num_bytes: int, num_documents: int = 1) -> None:
        """Count a document by its metadata and its kind; a part that is counted with another as none."""
        said = {"kind": kind, **meta}
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
