"""What earlier runs took on this machine: RUN/times.json, written after training and read by the plans of later runs.

Of a processor alone, by one process, with nothing beside it: such steps are what forecasts are for. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.files import digest_json, write_json
from headwater.machine.host import cpu_flags
from headwater.machine.settings import MachineSettings
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.recipes.run_config import RunConfig
from headwater.recipes.rung_times import steady_steps
from headwater.recipes.stages import Require, read_json_or_none
from headwater.records import Record, no_owner
from headwater.train.settings import TrainSettings

FORMAT, FORMAT_VERSION = "headwater-times", 1
TIMES_FILE = "times.json"
MIN_STEPS, MIN_SECONDS = 30, 10.0  # of steady training: less is the moment's speed
MOST_RUNS = 20  # the newest ones
_OF_TRAIN = {"batch_tokens", "microbatch_tokens", "recompute_fraction", "half_length_fraction", "exact"}


@dataclass(frozen=True)
class StepShape:
    """What a step's time depends on besides the machine."""

    model: ModelSettings
    optim: OptimSettings
    train: TrainSettings

    @property
    def key(self) -> str:
        return digest_json(
            {
                "model": self.model.model_dump(mode="json"),
                "optim": self.optim.model_dump(mode="json", include={"name", "block_rows"}),
                "train": self.train.model_dump(mode="json", include=_OF_TRAIN),
            }
        )


def shape_of_steps(config: RunConfig) -> StepShape:
    return StepShape(config.model, config.optim, config.train)


@dataclass(frozen=True)
class EarlierRun:
    """A run of the folder on this machine: what its steps were, and how many seconds of them were measured."""

    shape: StepShape
    step_seconds: float
    seconds: float


def keep_times(
    config: RunConfig,
    records: Sequence[Record],
    speed: dict[str, Any],
    at: float,
    require_owner: Require = no_owner,
) -> None:
    """Write what a step took by the `records` of one process, where they hold enough of them; else nothing.

    `speed` is `speed_here` of what it computed in, `at` seconds since 1970.
    """
    steps = steady_steps(records)
    if len(steps) < MIN_STEPS or sum(steps) < MIN_SECONDS:
        return
    shape = shape_of_steps(config)
    found = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "speed": speed,
        "of": {name: getattr(shape, name).model_dump(mode="json") for name in ("model", "optim", "train")},
        "step_seconds": sum(steps) / len(steps),
        "num_steps": len(steps),
        "at": at,
    }
    write_json(config.run_dir / TIMES_FILE, found, require_owner)


def speed_here(dtype: str, num_threads: int, machine: MachineSettings) -> dict[str, Any]:
    """Return what steps must share to say something of one another: how they compute, and the kind of processor."""
    flags = digest_json(sorted(cpu_flags()))
    return {"dtype": dtype, "num_threads": num_threads, "compile": machine.compile, "flags": flags}


def earlier_runs(runs_dir: Path, speed: dict[str, Any]) -> list[EarlierRun]:
    """Return what the runs of a folder took that computed as `speed` says, newest first; what can't be read isn't."""
    found = sorted(_read(runs_dir, speed), key=lambda one: -one[0])
    return [run for _, run in found[:MOST_RUNS]]


def _read(runs_dir: Path, speed: dict[str, Any]) -> Iterator[tuple[float, EarlierRun]]:
    for path in sorted(runs_dir.glob(f"*/{TIMES_FILE}")):
        value = read_json_or_none(path)
        try:
            if value["format"] != FORMAT or value["speed"] != speed:
                continue
            shape = StepShape(
                ModelSettings.model_validate(value["of"]["model"]),
                OptimSettings.model_validate(value["of"]["optim"]),
                TrainSettings.model_validate(value["of"]["train"]),
            )
            step_seconds = float(value["step_seconds"])
            run = EarlierRun(shape, step_seconds, step_seconds * int(value["num_steps"]))
            at = float(value["at"])
        except (KeyError, TypeError, ValueError):  # of another version, or not ours: pydantic's error is a ValueError
            continue
        if 0 < run.step_seconds < float("inf") and run.seconds > 0:
            yield at, run
