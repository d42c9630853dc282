"""A run's records as curves in TensorBoard, wandb, and what a package calls a `headwater.trackers`.

Records are sent from a thread of their own, so that no tracker stops or changes training. Nothing leaves the machine.
A start, a resume or a rollback begins a new run there, with all that counts before: none of them can take back points.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

from headwater.core.errors import ConfigError
from headwater.core.files import make_folder
from headwater.core.numbers import number
from headwater.core.records import Record, read_all, read_records

GROUP = "headwater.trackers"
PROJECT = "headwater"
FINISH_SECONDS = 10.0  # a stopped run has little time
MAX_WAITING = 10_000  # records; a tracker that falls behind by more is given up
_BEGINNINGS = ("start", "rollback")
_PREFIXES = {"step": "train", "validation": "validation", "probes": ""}
_NOT_MEASURED = ("event", "attempt", "step", "time")


class Tracker(Protocol):
    """One run in another program; made of the run's name there, and a folder that it may write into."""

    def start(self, config: Mapping[str, Any]) -> None: ...
    def log(self, step: int, values: Mapping[str, float]) -> None: ...
    def finish(self) -> None: ...


class TensorBoard:
    """Event files in one folder; a new start makes void what lies there before."""

    def __init__(self, name: str, folder: Path) -> None:
        self._folder = folder / "tensorboard"

    def start(self, config: Mapping[str, Any]) -> None:
        self._writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(self._folder, purge_step=0)
        self._writer.add_text("config", f"```json\n{json.dumps(config, indent=1)}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        self._writer.close()


class Wandb:
    """An offline run, which `wandb sync` may send later."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder

    def start(self, config: Mapping[str, Any]) -> None:
        wandb = importlib.import_module("wandb")
        if importlib.import_module("wandb.env").error_reporting_enabled():  # also of offline runs
            raise ConfigError("wandb calls its makers unless WANDB_ERROR_REPORTING=false is set; `headwater` sets it")
        make_folder(self._folder)  # it takes another place where this one is missing
        quiet = {"silent": True, "console": "off", "disable_git": True, "disable_code": True}
        settings = wandb.Settings(**quiet, x_disable_stats=True, x_disable_meta=True)
        given = {"project": PROJECT, "name": self._name, "dir": str(self._folder), "config": dict(config)}
        self._run = wandb.init(mode="offline", settings=settings, **given)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def finish(self) -> None:
        self._run.finish()


Make = Callable[[str, Path], Tracker]
BUILT_IN: dict[str, tuple[str, Make]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "wandb": ("wandb", Wandb),
}
"By name: the package that each needs, and what makes it."


def find_trackers(names: Sequence[str]) -> dict[str, Make]:
    """Return what makes each tracker; raise ConfigError for one that is unknown, or whose package is missing."""
    found: dict[str, Make] = {}
    for name in names:
        plug_ins = {each.name: each for each in entry_points(group=GROUP)}
        if name in plug_ins:
            found[name] = plug_ins[name].load()
        elif name not in BUILT_IN:
            known = ", ".join([*BUILT_IN, *plug_ins])
            raise ConfigError(f"train.trackers: there is no tracker {name!r}; those installed are {known}")
        elif find_spec(BUILT_IN[name][0]) is None:
            raise ConfigError(f'train.trackers: {name} isn\'t installed: pip install {name}, or "headwater[trackers]"')
        else:
            found[name] = BUILT_IN[name][1]
    return found


def values_of(record: Record) -> dict[str, float]:
    """Return the numbers of a record by names like train/loss, validation/bits_per_byte/all, probes/sums/right."""
    measured = {name: value for name, value in record.items() if name not in _NOT_MEASURED}
    return dict(_numbers(measured, _PREFIXES[record["event"]])) if record["event"] in _PREFIXES else {}


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}/{name}".lstrip("/"))
    elif (found := number(value)) is not None:
        yield path, found


class _Sender(Thread):
    """What takes records from a queue to the trackers; one that raises is given up, and why waits in `problems`."""

    def __init__(self, makes: Mapping[str, Make], run_dir: Path, config: Mapping[str, Any]) -> None:
        super().__init__(name="trackers", daemon=True)
        self.queue: SimpleQueue[tuple[Record, int | None] | None] = SimpleQueue()
        "Records; with one that begins a run, how many bytes of the file counted then; at last None."
        self.problems: SimpleQueue[str] = SimpleQueue()
        self._makes, self._run_dir, self._config = dict(makes), run_dir, config
        self._trackers: dict[str, Tracker] = {}

    def run(self) -> None:
        while (item := self.queue.get()) is not None:
            newest, num_bytes = item
            for record in [newest] if num_bytes is None else self._begin_all(num_bytes):
                for name, tracker in list(self._trackers.items()) if (values := values_of(record)) else ():
                    self._try(name, partial(tracker.log, record["step"], values))
        self._finish()

    def _begin_all(self, num_bytes: int) -> list[Record]:
        """Begin a run with every tracker, and return the records that counted when the file had so many bytes."""
        self._finish()
        path, name_of_run = self._run_dir / "records.jsonl", self._run_dir.name
        try:
            count = sum(each.get("event") in _BEGINNINGS for each in read_all(path, num_bytes))
            records = read_records(path, num_bytes=num_bytes)
        except OSError as error:
            self._makes.clear()
            self.problems.put(f"trackers get no more records: {error}")
            return []
        for name in list(self._makes):
            self._try(name, partial(self._begin, name, name_of_run if count < 2 else f"{name_of_run}-{count}"))
        return records

    def _begin(self, name: str, run_name: str) -> None:
        tracker = self._makes[name](run_name, self._run_dir / "trackers")
        tracker.start(self._config)
        self._trackers[name] = tracker

    def _finish(self) -> None:
        for name in list(self._trackers):
            self._try(name, self._trackers.pop(name).finish)

    def _try(self, name: str, do: Callable[[], None]) -> None:
        try:
            do()
        except BaseException as error:  # another program's, whatever it is: training continues
            self._makes.pop(name, None)
            self._trackers.pop(name, None)
            self.problems.put(f"{name} gets no more records: {type(error).__name__}: {error!s:.200}")


@contextmanager
def tracking(
    names: Sequence[str],
    run_dir: Path,
    config: Mapping[str, Any],
    say: Callable[[str], None],
    display: Callable[[Record], None] = lambda record: None,
    seconds: float | None = FINISH_SECONDS,
) -> Iterator[Callable[[Record], None]]:
    """Yield a display that hands records to `display` and to these trackers, which have `seconds` more at the end.

    What goes wrong with a tracker is said once, and nothing is raised but the ConfigError of `find_trackers`.
    """
    makes = find_trackers(names)
    if not makes:
        yield display
        return
    sender, path = _Sender(makes, run_dir, config), run_dir / "records.jsonl"
    is_given_up, remedy = False, f"`headwater report {run_dir} --tracker {names[0]}` sends all records again"
    sender.start()

    def show(record: Record) -> None:
        nonlocal is_given_up
        display(record)
        if not is_given_up and sender.queue.qsize() >= MAX_WAITING:
            is_given_up = True
            sender.queue.put(None)
            say(f"trackers are {MAX_WAITING:,} records behind and get no more; {remedy}")
        if not is_given_up:
            is_first = record["event"] in _BEGINNINGS and path.exists()
            sender.queue.put((record, path.stat().st_size if is_first else None))
        while not sender.problems.empty():
            say(sender.problems.get())

    try:
        yield show
    finally:
        sender.queue.put(None)
        sender.join(seconds)
        while not sender.problems.empty():
            say(sender.problems.get())
        if sender.is_alive() and not is_given_up:
            say(f"trackers are behind; {remedy}")


def send_records(names: Sequence[str], run_dir: Path, config: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Send all records of a run that count to these trackers, as a run that begins and ends."""
    records = read_records(run_dir / "records.jsonl")
    if records:
        with tracking(names, run_dir, config, say, seconds=None) as show:
            show({**records[-1], "event": "start"})
