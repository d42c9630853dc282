"""How far each run of a folder has come, by the end of its records: cheap enough to ask for every second."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headwater.checkpoint.lock import is_owned
from headwater.files import read_json
from headwater.records import GOING_BACK, Object, Record, amount, survives

TAIL_BYTES, MAX_TAIL_BYTES = 1 << 18, 1 << 22
"Of a run's records: the last lines, and how far back a validation is looked for."
MAX_SILENT_SECONDS = 120.0
"After its last record a run of another machine passes for stopped."
RUNNING, STOPPED, FINISHED, KILLED = "running", "stopped", "finished", "killed"
PREPARING, NOT_STARTED = "preparing", "not started"
MAX_RUNS = 1000
MAX_STEP = 2**53


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one line; what isn't known, or isn't measured yet, is None. `state` is one of the words above."""

    name: str
    folder: Path
    state: str
    step: int | None = None
    num_steps: int | None = None
    loss: float | None = None
    bits_per_byte: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    last_record_at: float | None = None

    def as_json(self) -> Object:
        return {name: getattr(self, name) for name in self.__slots__ if name != "folder"}


class RunsFolder:
    """The runs in a folder, or the one that it is; files that haven't changed aren't read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, tuple[tuple[int, int], list[Record]]] = {}

    def paths(self) -> dict[str, Path]:
        """Return the folders of runs by name: those right here, and the rungs of their ladders."""
        if _is_run_alone(self.folder):
            return {self.folder.resolve().name: self.folder}
        found = {}
        for path in _folders(self.folder):
            for run_dir in [path, *_folders(path / "ladder")]:
                if is_run(run_dir):
                    found[run_dir.relative_to(self.folder).as_posix()] = run_dir
        return dict(list(found.items())[:MAX_RUNS])

    def summaries(self) -> list[RunSummary]:
        """Return what runs first, then those of which something was heard last."""
        found = [self._summary(name, path) for name, path in self.paths().items()]
        return sorted(found, key=lambda run: (run.state != RUNNING, -(run.last_record_at or 0.0), run.name))

    def _summary(self, name: str, run_dir: Path) -> RunSummary:
        records, num_steps = self._last_records(run_dir / "records.jsonl"), steps_planned(run_dir)
        steps = [record for record in records if record.get("event") == "step"]
        validations = [record for record in records if record.get("event") == "validation"]
        step = max((int(at) for record in records if (at := amount(record, "step")) is not None), default=None)
        state = _state(run_dir, records)
        if state == FINISHED:  # the settings may be those of the run that it was made of
            num_steps = max(int(record["step"]) for record in records if record["event"] == "finish")
        return RunSummary(
            name=name,
            folder=run_dir,
            state=state,
            step=step,
            num_steps=num_steps or next((int(n) for record in records if (n := amount(record, "num_steps"))), None),
            loss=amount(steps[-1], "loss") if steps else None,
            bits_per_byte=amount(validations[-1], "bits_per_byte", "all") if validations else None,
            tokens_per_second=amount(steps[-1], "tokens_per_second") if steps else None,
            seconds_left=_seconds_left(steps, num_steps) if state == RUNNING else None,
            last_record_at=_last_time(records),
        )

    def _last_records(self, path: Path) -> list[Record]:
        try:
            status = path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            known = self._read.get(path)
            if known is None or known[0] != stamp:
                known = self._read[path] = (stamp, last_records(path, status.st_size))
        except OSError:
            return []
        return known[1]


def is_run(folder: Path) -> bool:
    """Return whether a folder among runs is one; it has its data first."""
    return any((folder / name).is_file() for name in ("records.jsonl", "config.json")) or (folder / "data").is_dir()


def _is_run_alone(folder: Path) -> bool:
    """Return whether the folder that was named is one run; one of many may hold a run called data, or a config.json."""
    if (folder / "records.jsonl").is_file():
        return True
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "settings" in config


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def steps_planned(run_dir: Path) -> int | None:
    """Return how many steps a run's settings say, and of one that is aligned its own file, as those are its start's."""
    for name, path in (("derived.json", ("num_steps",)), ("config.json", ("settings", "train", "num_steps"))):
        try:
            steps = amount(read_json(run_dir / name), *path)
        except (OSError, ValueError, RecursionError):
            continue
        if steps is not None:
            return int(steps)
    return None


def last_records(path: Path, size: int) -> list[Record]:
    """Return the records at the end of a file that count, a validation among them unless that is far back."""
    kept: list[Record] = []
    for num_bytes in (TAIL_BYTES, MAX_TAIL_BYTES):
        kept = list(_counting(path, num_bytes))
        if num_bytes >= size or any(record.get("event") == "validation" for record in kept):
            break
    return kept


def _counting(path: Path, num_bytes: int) -> Iterator[Record]:
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - num_bytes))
        lines = file.read().split(b"\n")
    kept: list[Record] = []
    for line in lines:
        if (record := parsed(line)) is not None:
            if record["event"] in GOING_BACK:
                kept = [old for old in kept if survives(old, record)]
            kept.append(record)
    yield from kept


def parsed(line: bytes) -> Record | None:
    """Return the record of a line; None of a torn line, and of what is no record with an event and a step."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_event = isinstance(record, dict) and isinstance(record.get("event"), str)
    return record if is_event and 0 <= (-1 if (step := amount(record, "step")) is None else step) < MAX_STEP else None


def _state(run_dir: Path, records: list[Record]) -> str:
    # what follows a finish, the evaluation of a resumed run say, is no training
    if any(record["event"] == "finish" for record in records):
        return FINISHED
    owned = is_owned(run_dir)
    last_at = _last_time(records)
    if owned is None:  # by a process of another machine, which only its records tell of
        owned = last_at is not None and abs(time.time() - last_at) < MAX_SILENT_SECONDS
    if not records:
        return PREPARING if owned else NOT_STARTED
    if records[-1]["event"] == "stopped":
        return STOPPED
    return RUNNING if owned else KILLED


def _last_time(records: list[Record]) -> float | None:
    return max((at for record in records if (at := amount(record, "time")) is not None), default=None)


def _seconds_left(steps: list[Record], num_steps: int | None) -> float | None:
    """Return the time to the end, by what the steps of the last attempt took with all that came between them."""
    last = steps[-1] if steps else {}
    recent = [record for record in steps if record.get("attempt") == last.get("attempt")]
    first_step, last_step = (amount(each[0] if each else {}, "step") for each in (recent, recent[-1:]))
    began, ended = (amount(each[0] if each else {}, "time") for each in (recent, recent[-1:]))
    if None in (first_step, last_step, began, ended, num_steps) or last_step == first_step:
        return None
    return max(0.0, (num_steps - last_step) * (ended - began) / (last_step - first_step))  # type: ignore[operator]
