"""How far each run of a folder has come, by the end of its records: cheap enough to ask for every second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import ConfigError, DataError
from headwater.core.files import read_json_or_none
from headwater.core.numbers import count, decimal, duration, whole
from headwater.core.records import Object, amount, table
from headwater.runfile.damage import damage_of
from headwater.runs.recent import MEAN_STEPS, RecentRecords
from headwater.train.checkpoint.layout import DERIVED
from headwater.train.checkpoint.lock import is_owned

MAX_SILENT_SECONDS = 120.0
"After its last record a run of another machine passes for stopped."
RUNNING, STOPPED, FINISHED, KILLED = "running", "stopped", "finished", "killed"
PREPARING, NOT_STARTED, DAMAGED = "preparing", "not started", "damaged"
MAX_RUNS = 1000
RUNS = Path("runs")
"The folder of runs, where nobody names another."
HEADS = ("run", "state", "step", f"mean loss of {MEAN_STEPS} steps", "held-out bits/byte", "tokens/s", "time left")
"Of the columns in which terminal and page show runs."
AS_RECORDED = ("step", "loss", "tokens_per_second", "last_record_at", "prompt", "version")


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
    """The runs in a folder, or the one that it is; of a file that grows only what is new is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: dict[str, Path] = {}
        self._recent: dict[Path, RecentRecords] = {}
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
        known = self._paths.get(name)
        if known is not None and _is_run(known):
            return known
        self._paths = paths = self.paths()
        if name not in paths:
            raise NoRunError(f"there is no run {name[:100]!a} in {self.folder}")
        return paths[name]

    def summaries(self) -> list[RunSummary]:
        """Return what runs first, then those of which something was heard last."""
        with self._lock:
            paths = self._paths = self.paths()
            known = self._recent  # without the runs that have vanished
            self._recent = {path: known.get(path) or RecentRecords(path / "records.jsonl") for path in paths.values()}
            found = [self._summary(name, path) for name, path in paths.items()]
        return sorted(found, key=lambda run: (run.state != RUNNING, -(run.last_record_at or 0.0), run.name))

    def _summary(self, name: str, run_dir: Path) -> RunSummary:
        recent, num_steps = self._recent[run_dir], _steps_planned(run_dir)
        recent.poll()
        state, (bits_per_byte, is_of_all) = _state(run_dir, recent), recent.score
        damage = None if state in (RUNNING, PREPARING) else damage_of(run_dir, recent.step)
        if state == FINISHED:  # the settings may be those of the run that it was made of
            num_steps = recent.finished_step
        return RunSummary(
            name=name,
            folder=run_dir,
            state=state if damage is None else DAMAGED,
            damage=damage,
            num_steps=num_steps or recent.num_steps,
            bits_per_byte=bits_per_byte,
            is_of_all_text=is_of_all,
            seconds_left=recent.seconds_left(num_steps) if state == RUNNING else None,
            **{name: getattr(recent, name) for name in AS_RECORDED},
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


def _state(run_dir: Path, recent: RecentRecords) -> str:
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
