"""Everything the page shows, read from a run's folder; what isn't there yet is empty.

A page is also made in the middle of a run, so a missing, half-written or odd file is never an error here.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np

from headwater.core.errors import TrainingError
from headwater.core.files import digest_json
from headwater.core.numbers import number
from headwater.core.records import Object, Record, RunLog, amount, entries, survives, table
from headwater.runfile.damage import damage_of
from headwater.runfile.paths import RunFolder
from headwater.tokens.skipped_rows import read_interventions

MAX_POINTS = 2000

Points = list[tuple[float, float]]


def points(records: Iterable[Record], x: str, *y: str) -> Points:
    """Return (x, y) of every record in which both are finite numbers; `y` is a path into the record."""
    pairs = ((amount(record, x), amount(record, *y)) for record in records)
    return [(x_value, y_value) for x_value, y_value in pairs if x_value is not None and y_value is not None]


def thin(curve: Points, max_points: int = MAX_POINTS) -> Points:
    """Return at most `max_points` of a curve: the lowest and highest of every bucket, and always both ends.

    Random or evenly spaced points would hide a spike of one step, which is what matters to a reader.
    """
    if len(curve) <= max_points:
        return list(curve)
    inner = curve[1:-1]
    num_buckets = max(1, (max_points - 2) // 2)
    kept = [curve[0]]
    for bucket in range(num_buckets):
        start, stop = bucket * len(inner) // num_buckets, (bucket + 1) * len(inner) // num_buckets
        if ys := [y for _, y in inner[start:stop]]:
            kept.extend(inner[start + index] for index in sorted({ys.index(min(ys)), ys.index(max(ys))}))
    return [*kept, curve[-1]]


def smooth(curve: Points, fraction: float = 0.05) -> Points:
    """Return each point's mean over the points within ±`fraction` of its own rank.

    A window that grows with the rank smooths alike everywhere on a logarithmic axis, and a centred one
    doesn't lag behind a falling loss as an exponential average does.
    """
    sums = np.cumsum([0.0, *(y for _, y in curve)])
    ranks = np.arange(len(curve))
    reaches = (fraction * ranks).astype(int)
    starts, stops = ranks - reaches, np.minimum(len(curve), ranks + reaches + 1)
    means = (sums[stops] - sums[starts]) / (stops - starts)
    return list(zip((x for x, _ in curve), means.tolist(), strict=True))


def on_log_axis(curve: Points) -> Points:
    """Return the curve with x = 0 (before training) moved to half the first positive x, for a logarithmic axis."""
    positive = [x for x, _ in curve if x > 0]
    if not positive:
        return []
    return [(x if x > 0 else min(positive) / 2, y) for x, y in curve]


ALMANAC = "almanac"
KEPT = ("config", "evaluation", "forecast", "knowledge", "tasks", "stages")
"Files of a run's folder, without .json."
MADE = ("corpus", "tokenizer", "tokens")
"Stages of its text, of which the manifests are read."
MEASURES = ("tokens_seen", "loss", "tokens_per_second", "lr", "grad_norm", "mfu", "seconds", "reward", "kl_to_start")
"What is kept of a step, besides its number and its attempt."


@dataclass
class Attempt:
    """What one process did: its steps, whether they count or not, and how it ended, as far as records say."""

    name: Any
    began: float | None
    from_step: float
    to_step: float
    resumed_at: float | None = None
    start: Record = field(default_factory=dict)
    num_resumes: int = 0
    ending: Record = field(default_factory=dict)
    ended: float | None = None

    def add(self, record: Record) -> None:
        event, self.ended = record["event"], number(record.get("time"))
        self.to_step = max(self.to_step, record["step"])
        self.num_resumes += event == "resume"
        if event in ("resume", "start") and self.resumed_at is None:
            self.resumed_at = record["step"]
        if event == "start" and not self.start:
            self.start = record
        if event in ("stopped", "finish"):
            self.ending = record


class History(RunLog):
    """A run's steps as columns, its other records by event, and its attempts; as records they need ten times that."""

    def forget(self) -> None:
        super().forget()
        self.columns: dict[str, array[Any]] = {name: array("d") for name in MEASURES}
        self.columns |= {"step": array("q"), "attempt": array("d")}
        self.events: dict[str, list[Record]] = {}
        self.attempts: dict[str, Attempt] = {}
        self.starts: list[Record] = []

    def add(self, record: Record) -> None:
        name, event = record.get("attempt", "–"), record["event"]
        if (attempt := self.attempts.get(str(name))) is None:
            attempt = Attempt(name, number(record.get("time")), record["step"], record["step"])
            self.attempts[str(name)] = attempt
        attempt.add(record)
        if event == "start":
            self.starts.append(record)
        if event == "step":
            for column, values in self.columns.items():
                value = number(record.get(column))
                values.append(int(value or 0) if column == "step" else math.nan if value is None else value)
        else:
            self.events.setdefault(event, []).append(record)

    def go_back(self, back: Record) -> None:
        num_kept = bisect_right(self.columns["step"], back["step"])
        self.events = {event: [each for each in found if survives(each, back)] for event, found in self.events.items()}
        for column in self.columns.values():
            del column[num_kept:]

    @property
    def num_steps(self) -> int:
        return len(self.columns["step"])

    def measured(self, name: str) -> list[float]:
        """Return a measure of the steps that have it."""
        return [value for value in self.columns[name] if math.isfinite(value)]

    def curve(self, name: str, first: int = 0, last: int | None = None, x: str = "tokens_seen") -> Points:
        """Return (tokens seen, value) of the steps from the `first` on that have both."""
        xs, ys = (np.array(self.columns[each][first:last], dtype=float) for each in (x, name))
        known = np.isfinite(xs) & np.isfinite(ys)
        return list(zip(xs[known].tolist(), ys[known].tolist(), strict=True))

    def between(self, low: float, high: float) -> tuple[int, int]:
        """Return the first and one past the last step within two amounts of tokens seen, and a neighbour of each."""
        xs = self.columns["tokens_seen"]
        return max(0, bisect_left(xs, low) - 1), min(len(xs), bisect_right(xs, high) + 1)


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run's folder holds: `log` has its records, the other fields what its files say.

    `records` are the lines that `log` was made of; none of a log that follows a run. `sources` are in an order that
    gives each the same colour in every chart, the almanac last.
    """

    name: str
    folder: Path
    log: History
    records: list[Record]
    interventions: list[Record]
    sources: list[str]
    config: Object
    corpus: Object
    tokenizer: Object
    tokens: Object
    evaluation: Object
    forecast: Object
    knowledge: Object
    tasks: Object
    stages: Object

    def events(self, event: str) -> list[Record]:
        """Return the records of an event that count; the steps are columns of `log`."""
        return self.log.events.get(event, [])

    def last(self, event: str) -> Record:
        if event == "step":
            names = ("step", "tokens_seen") if self.log.num_steps else ()
            return {"event": event} | {name: self.log.columns[name][-1] for name in names} if names else {}
        return (self.events(event) or [{}])[-1]

    @property
    def digest(self) -> str:
        """The digest of all that a page shows, apart from the seconds of stages, of which writing it is one."""
        names = (each.name for each in fields(self) if each.name not in ("folder", "stages", "log"))
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
    def damage(self) -> str | None:
        """What the folder has lost, and what to do; None of a whole one."""
        return damage_of(self.folder, self.log.num_steps)


def _history(here: RunFolder, path: Path) -> History:
    log = History(path)
    for record in here.attempts():
        log.take(record)
    return log


def _sources(corpus: Object, validations: list[Record]) -> list[str]:
    names = dict.fromkeys(table(corpus, "sources"))
    for record in validations:
        names |= dict.fromkeys(table(record, "bits_per_byte"))
    return sorted((name for name in names if name != "all"), key=lambda name: name == ALMANAC)


def read_run(run_dir: Path, here: RunFolder | None = None, log: History | None = None) -> RunData:
    """Return what a run's folder holds; its records as far as `log` has followed them, if given."""
    here, records = here or RunFolder(run_dir), list[Record]()
    if log is None:
        records = here.attempts()
        log = here.once(run_dir / "records.jsonl", MethodType(_history, here))  # equal to that of the next call

    kept = {name: table(here.json(run_dir / f"{name}.json")) for name in KEPT}
    made = {name: here.manifest(here.data / name) for name in MADE}
    sources = _sources(made["corpus"], log.events.get("validation", []))
    return RunData(run_dir.name, run_dir, log, records, _interventions_or_none(run_dir), sources, **kept, **made)


def _interventions_or_none(run_dir: Path) -> list[Record]:
    try:
        return read_interventions(run_dir)
    except (TrainingError, OSError):  # training says what is wrong with it
        return []
