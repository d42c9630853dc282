"""Everything the page shows, read from a run's folder; what isn't there yet is empty.

A report is asked for in the middle of a run too, so a missing, half-written or odd file is never an error here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.files import read_json, read_manifest_or_none
from headwater.records import Record, read_all, read_records
from headwater.report.numbers import number

ALMANAC = "almanac"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunData:
    """`records` are those that count after resumes, `all_records` every line that was written."""

    name: str
    config: Object
    records: list[Record]
    all_records: list[Record]
    corpus: Object
    tokenizer: Object
    tokens: Object
    stores: dict[str, Object]
    evaluation: Object

    def events(self, event: str) -> list[Record]:
        return [record for record in self.records if record.get("event") == event]

    def last(self, event: str) -> Record:
        return next((record for record in reversed(self.records) if record.get("event") == event), {})

    @property
    def start(self) -> Record:
        """The latest account of model, device and plan: of the first start, or of a resume that repeats it."""
        return next((record for record in reversed(self.all_records) if record.get("event") == "start"), {})

    @property
    def tokens_seen(self) -> float | None:
        return max((value for value in map(_tokens_seen, self.records) if value is not None), default=None)

    @property
    def is_finished(self) -> bool:
        return bool(self.last("finish"))

    @property
    def sources(self) -> list[str]:
        """Every source by name, the almanac last, in an order that gives each the same colour in every chart."""
        names = [*table(self.corpus, "sources"), *self.stores]
        for record in self.events("validation"):
            names.extend(table(record, "bits_per_byte"))
        unique = [name for name in dict.fromkeys(names) if name != "all" and not name.startswith("real_text")]
        return sorted(unique, key=lambda name: name == ALMANAC)


def read_run(run_dir: Path) -> RunData:
    data = run_dir / "data"
    records = run_dir / "records.jsonl"
    return RunData(
        name=run_dir.name,
        config=_read_or_empty(run_dir / "config.json"),
        records=_sound(read_records(records)),
        all_records=_sound(read_all(records)),
        corpus=read_manifest_or_none(data / "corpus"),
        tokenizer=read_manifest_or_none(data / "tokenizer"),
        tokens=read_manifest_or_none(data / "tokens"),
        stores=_read_stores(data / "tokens" / "train"),
        evaluation=_read_or_empty(run_dir / "evaluation.json"),
    )


def _read_stores(folder: Path) -> dict[str, Object]:
    stores = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return {path.name: manifest for path in stores if (manifest := read_manifest_or_none(path))}


def _read_or_empty(path: Path) -> Object:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _sound(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if isinstance(record.get("event"), str)]


def _tokens_seen(record: Record) -> float | None:
    return number(record.get("tokens_seen"))


def table(value: Any, *path: str) -> Object:
    """Return the object at `path` inside `value`, or {} where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def entries(value: Any, name: str) -> list[Object]:
    """Return the objects of the list under `name`."""
    members = value.get(name) if isinstance(value, dict) else None
    return [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []


def amount(value: Any, *path: str) -> float | None:
    """Return the finite number at `path` inside `value`, or None."""
    *parents, last = path
    return number(table(value, *parents).get(last))
