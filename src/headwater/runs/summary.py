"""How far each run of a folder has come, by the end of its records: cheap enough to ask for every second.

Of a run that is finished and evaluated the score is that of evaluation.json, of all held-out text. Here is also how
long a run has yet to train.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from headwater.core.errors import ConfigError, DataError
from headwater.core.files import read_json_or_none
from headwater.core.numbers import count, decimal, duration, whole
from headwater.core.records import GOING_BACK, Object, Record, amount, counted, entries, held_out_score, parsed, table
from headwater.runfile.damage import damage_of
from headwater.train.checkpoint.layout import DERIVED
from headwater.train.checkpoint.lock import is_owned

USUAL_STEPS = 200
"The last ones, whose median is what a step takes."
PAUSED_STEPS = 1000
"The last ones, between which validations, probes and saves are counted: several, at the usual settings."


class TimeLeft:
    """An estimate by the steps of one process: what they take, and all that comes between two of them.

    Of steps the median counts: those in which kernels are compiled, or that something held up, say nothing of the
    others. Of what comes between the mean does: it comes seldom, and takes long.
    """

    def __init__(self) -> None:
        self._step_seconds: deque[float] = deque(maxlen=USUAL_STEPS)
        self._pause_seconds: deque[float] = deque(maxlen=PAUSED_STEPS)
        self._attempt: Any = None
        self._step_tokens = 0.0
        self._last_time: float | None = None

    def add(self, step: Record) -> None:
        """Take in the next record of a step; those of an earlier attempt count no more."""
        if step.get("attempt") != self._attempt:
            self._attempt, self._last_time = step.get("attempt"), None
            self._step_seconds.clear()
            self._pause_seconds.clear()
        seconds, now = amount(step, "seconds"), amount(step, "time")
        if seconds is not None:
            self._step_seconds.append(seconds)
            self._step_tokens = seconds * (amount(step, "tokens_per_second") or 0.0)
        if now is not None and self._last_time is not None:
            self._pause_seconds.append(max(0.0, now - self._last_time - (seconds or 0.0)))
        self._last_time = now

    @property
    def _pause(self) -> float:
        return fmean(self._pause_seconds) if self._pause_seconds else 0.0

    @property
    def pause_fraction(self) -> float:
        """The part of the time that goes to what comes between steps: validations, probes, saves."""
        return self._pause / self._seconds if self._seconds else 0.0

    @property
    def _seconds(self) -> float | None:
        """What a step takes with what comes after it; None before anything is known."""
        usual = median(self._step_seconds) if self._step_seconds else 0.0
        return usual + self._pause if self._step_seconds or self._pause_seconds else None

    def after(self, step: int, num_steps: int) -> float | None:
        """Return the seconds from a step to the last one; None before anything is known."""
        return None if self._seconds is None else max(0, num_steps - step) * self._seconds

    @property
    def tokens_per_second(self) -> float | None:
        """The rate that the time left goes by: that of the steps and of all that comes between them."""
        return self._step_tokens / self._seconds if self._seconds and self._step_tokens else None


TAIL_BYTES, MAX_TAIL_BYTES = 1 << 18, 1 << 21
"Of a run's records: the last lines, and how far back those that come seldom are looked for."
SELDOM = re.compile("|".join(f'"{event}"' for event in ("validation", "samples", *GOING_BACK)).encode())
"Before the last lines only those that hold one of these are parsed."
MEAN_STEPS = 20
"The last steps of which the mean loss is shown."


def last_records(path: Path) -> list[Record]:
    """Return the last of a run's records that count, after those of SELDOM unless they are far back."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_TAIL_BYTES))
            data = file.read()
    except OSError:  # not there yet, or not any more
        return []
    cut = data.rfind(b"\n", 0, max(0, len(data) - TAIL_BYTES)) + 1
    before = [line for line in data[:cut].split(b"\n") if SELDOM.search(line)]
    return counted(map(parsed, before + data[cut:].split(b"\n")))


class Recent:
    """What the last records of a run say of it; None or {} where they say nothing."""

    def __init__(self, records: list[Record]) -> None:
        last = {record["event"]: record for record in records}
        steps = [record for record in records if record["event"] == "step"]
        losses = [loss for step in steps[-MEAN_STEPS:] if (loss := amount(step, "loss")) is not None]
        prompts = [str(sample.get("prompt", "")) for sample in entries(last.get("samples"), "samples")]
        self.last_event: str | None = records[-1]["event"] if records else None
        self.step = max((int(record["step"]) for record in records), default=None)
        self.num_steps = next((int(num) for record in records if (num := amount(record, "num_steps"))), None)
        self.last_record_at = max((amount(record, "time") or 0.0 for record in records), default=None)
        self.loss = fmean(losses) if losses else None
        self.prompt = prompts[0] if prompts else None
        self.validation = last.get("validation", {})
        self.finished_step = int(last["finish"]["step"]) if "finish" in last else None
        self.time_left = TimeLeft()
        for step in steps:
            self.time_left.add(step)


def _stamp(path: Path) -> str:
    """Return what differs when a file has changed."""
    try:
        status = path.stat()
    except OSError:
        return "none"
    return f"{status.st_size}-{status.st_mtime_ns}"


MAX_SILENT_SECONDS = 120.0
"After its last record a run of another machine passes for stopped."
RUNNING, STOPPED, FINISHED, KILLED = "running", "stopped", "finished", "killed"
PREPARING, NOT_STARTED, DAMAGED = "preparing", "not started", "damaged"
MAX_RUNS = 1000
RUNS = Path("runs")
"The folder of runs, where nobody names another."
HEADS = ("run", "state", "step", f"mean loss of {MEAN_STEPS} steps", "held-out bits/byte", "tokens/s", "time left")
"Of the columns in which terminal and page show runs."


class NoRunError(DataError):
    """A folder of runs has none of this name."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one line; what isn't known, or isn't measured yet, is None. `state` is one of the words above.

    The bits per byte of a run that is evaluated are of all held-out text, before mostly of a sample. `prompt` is the
    first of those that were continued last, `version` another whenever the records are, `damage` what the folder has
    lost, and what to do.
    """

    name: str
    folder: Path
    state: str
    step: int | None = None
    num_steps: int | None = None
    loss: float | None = None
    bits_per_byte: float | None = None
    is_of_all_text: bool = False
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    last_record_at: float | None = None
    prompt: str | None = None
    version: str = ""
    damage: str | None = None

    @property
    def cells(self) -> list[str]:
        """What a table shows of it under HEADS; nothing of what isn't known."""
        step = "" if self.step is None else whole(self.step) + (f" of {self.num_steps:,}" if self.num_steps else "")
        values = (self.loss, self.bits_per_byte, self.tokens_per_second, self.seconds_left)
        shows: tuple[Callable[[float], str], ...] = (decimal, self._score, count, duration)
        shown = zip(values, shows, strict=True)
        return [self.name, self.state, step, *("" if value is None else show(value) for value, show in shown)]

    def _score(self, value: float) -> str:
        return f"{decimal(value)} ({'all' if self.is_of_all_text else 'sample'})"

    def as_json(self) -> Object:
        return {name: getattr(self, name) for name in self.__slots__ if name not in ("folder", "prompt", "version")}


class RunsFolder:
    """The runs in a folder, or the one that it is; of records that have changed the end is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._recent: dict[Path, tuple[str, Recent]] = {}
        self._lock = threading.Lock()

    def paths(self) -> dict[str, Path]:
        """Return the folders of runs by name: those right here, and the rungs of their ladders."""
        if _is_run_alone(self.folder):
            return {self.folder.resolve().name: self.folder}
        found = {}
        for path in _folders(self.folder):
            for run_dir in [path, *_folders(path / "ladder")]:
                if _is_run(run_dir):
                    found[run_dir.relative_to(self.folder).as_posix()] = run_dir
        return dict(list(found.items())[:MAX_RUNS])

    def run_dir(self, name: str) -> Path:
        """Return the folder of a run by its name, which never becomes a path; raise NoRunError where there is none."""
        if (found := self.paths().get(name)) is None:
            raise NoRunError(f"there is no run {name[:100]!a} in {self.folder}")
        return found

    def summaries(self) -> list[RunSummary]:
        """Return what runs first, then those of which something was heard last."""
        with self._lock:
            paths = self.paths()
            self._recent = {path: self._read(path) for path in paths.values()}  # without the runs that have vanished
            found = [_summary(name, path, *self._recent[path]) for name, path in paths.items()]
        return sorted(found, key=lambda run: (run.state != RUNNING, -(run.last_record_at or 0.0), run.name))

    def _read(self, run_dir: Path) -> tuple[str, Recent]:
        """Return what a run's records say, and the stamp of the file that says it."""
        path = run_dir / "records.jsonl"
        known, stamp = self._recent.get(run_dir), _stamp(path)
        return known if known and known[0] == stamp else (stamp, Recent(last_records(path)))


def _summary(name: str, run_dir: Path, stamp: str, recent: Recent) -> RunSummary:
    evaluation, num_steps, state = run_dir / "evaluation.json", _steps_planned(run_dir), _state(run_dir, recent)
    damage = None if state in (RUNNING, PREPARING) else damage_of(run_dir, recent.step)
    measured = {} if recent.finished_step is None else table(read_json_or_none(evaluation))
    bits_per_byte, is_of_all = held_out_score(recent.validation, measured)
    if state == FINISHED:  # the settings may be those of the run that it was made of
        num_steps = recent.finished_step
    is_timed = state == RUNNING and recent.step is not None and num_steps is not None
    return RunSummary(
        name=name,
        folder=run_dir,
        state=state if damage is None else DAMAGED,
        step=recent.step,
        num_steps=num_steps or recent.num_steps,
        loss=recent.loss,
        bits_per_byte=bits_per_byte,
        is_of_all_text=is_of_all,
        tokens_per_second=recent.time_left.tokens_per_second,
        seconds_left=recent.time_left.after(recent.step or 0, num_steps or 0) if is_timed else None,
        last_record_at=recent.last_record_at,
        prompt=recent.prompt,
        version=f"{stamp}-{_stamp(evaluation)}",
        damage=damage,
    )


def _is_run(folder: Path) -> bool:
    """Return whether a folder among runs is one; it has its data first."""
    return any((folder / name).is_file() for name in ("records.jsonl", "config.json")) or (folder / "data").is_dir()


def _is_run_alone(folder: Path) -> bool:
    """Return whether the folder that was named is one run; one of many may hold a run called data, or a config.json."""
    return (folder / "records.jsonl").is_file() or "settings" in table(read_json_or_none(folder / "config.json"))


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _steps_planned(run_dir: Path) -> int | None:
    """Return how many steps a run's settings say, and of one that is aligned its own file, as those are its start's."""
    steps = amount(read_json_or_none(run_dir / DERIVED), "num_steps")
    if steps is None:
        steps = amount(read_json_or_none(run_dir / "config.json"), "settings", "train", "num_steps")
    return None if steps is None else int(steps)


def _state(run_dir: Path, recent: Recent) -> str:
    # what follows a finish, the evaluation of a resumed run say, is no training
    if recent.finished_step is not None:
        return FINISHED
    owned = is_owned(run_dir)
    if owned is None:  # by a process of another machine, which only its records tell of
        owned = recent.last_record_at is not None and abs(time.time() - recent.last_record_at) < MAX_SILENT_SECONDS
    if recent.last_event is None:
        return PREPARING if owned else NOT_STARTED
    if recent.last_event == "stopped":
        return STOPPED
    return RUNNING if owned else KILLED


def folder_of_runs(folder: Path, may_be_missing: bool = False) -> Path:
    """Return a folder of runs, or one run's, also by its name in runs/; raise ConfigError where there is none."""
    found = folder if folder.exists() else RUNS / folder
    if found.is_dir():
        return found
    if found.exists():
        raise ConfigError(f"{folder} is a file; name a folder of runs, or one run's")
    if may_be_missing:
        return folder
    raise ConfigError(f"there is no folder {folder}; name a folder of runs, or one run's")
