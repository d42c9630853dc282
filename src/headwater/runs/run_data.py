"""Everything the page shows, read from a run's folder; what isn't there yet is empty.

A report is also made in the middle of a run, so a missing, half-written or odd file is never an error here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from headwater.core.errors import TrainingError
from headwater.core.files import digest_json
from headwater.core.records import Object, Record, amount, counted, entries, table
from headwater.runfile.paths import RunFolder
from headwater.tokens.skipped_rows import read_interventions

ALMANAC = "almanac"


@dataclass(frozen=True, slots=True)
class RunData:
    """`by_event` has the records that count after resumes, `all_records` those that were recomputed, too."""

    name: str
    folder: Path
    config: Object
    by_event: dict[str, list[Record]]
    all_records: list[Record]
    corpus: Object
    tokenizer: Object
    tokens: Object
    evaluation: Object
    forecast: Object
    knowledge: Object
    tasks: Object
    interventions: list[Record]
    stages: Object

    def events(self, event: str) -> list[Record]:
        return self.by_event.get(event, [])

    def last(self, event: str) -> Record:
        return (self.events(event) or [{}])[-1]

    @property
    def digest(self) -> str:
        """The digest of all that a page shows, apart from the seconds of stages, of which writing it is one."""
        names = (each.name for each in fields(self) if each.name not in ("folder", "stages"))
        return digest_json({name: getattr(self, name) for name in names})

    @property
    def start(self) -> Record:
        """The latest account of model, device and plan."""
        return self.last("start")

    @property
    def tokens_seen(self) -> float | None:
        return amount(self.last("step"), "tokens_seen")

    @property
    def prompts(self) -> list[str]:
        """What was continued last, and more, so that there are two."""
        found = [str(entry.get("prompt", "")) for entry in entries(self.last("samples"), "samples")]
        return [*found, "The", "In the"]

    @property
    def is_finished(self) -> bool:
        return bool(self.last("finish"))

    @property
    def sources(self) -> list[str]:
        """Every source by name, the almanac last, in an order that gives each the same colour in every chart."""
        names = list(table(self.corpus, "sources"))
        for record in self.events("validation"):
            names.extend(table(record, "bits_per_byte"))
        unique = [name for name in dict.fromkeys(names) if name != "all"]
        return sorted(unique, key=lambda name: name == ALMANAC)


def read_run(run_dir: Path, here: RunFolder | None = None) -> RunData:
    here = here or RunFolder(run_dir)
    attempts = here.attempts()

    def kept(name: str) -> Object:
        return table(here.json(run_dir / name))

    return RunData(
        name=run_dir.name,
        folder=run_dir,
        config=kept("config.json"),
        by_event=_group(counted(attempts)),
        all_records=attempts,
        corpus=here.manifest(here.corpus),
        tokenizer=here.manifest(here.tokenizer),
        tokens=here.manifest(here.tokens),
        evaluation=kept("evaluation.json"),
        forecast=kept("forecast.json"),
        knowledge=kept("knowledge.json"),
        tasks=kept("tasks.json"),
        interventions=_interventions_or_none(run_dir),
        stages=kept("stages.json"),
    )


def _interventions_or_none(run_dir: Path) -> list[Record]:
    try:
        return read_interventions(run_dir)
    except (TrainingError, OSError):  # training says what is wrong with it
        return []


def _group(records: list[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(str(record.get("event")), []).append(record)
    return groups
