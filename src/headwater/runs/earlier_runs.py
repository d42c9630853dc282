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
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.records import Record, no_owner
from headwater.runs.paths import Require, read_json_or_none
from headwater.runs.run_config import RunConfig
from headwater.runs.rung_times import is_computed_twice, steady_steps
from headwater.train.settings import TrainSettings, is_half_length

FORMAT, FORMAT_VERSION = "headwater-times", 1
TIMES_FILE = "times.json"
MIN_STEPS, MIN_SECONDS = 30, 10.0  # of steady training: less is the moment's speed
MOST_RUNS = 20  # the newest of the run's own shape, and as many of others
_LONGEST = {"step_seconds": 1e6, "num_steps": 1e9, "ended_at": 1e11}  # no run of ours has more
_OF_TRAIN = {"batch_tokens", "microbatch_tokens", "recompute_fraction", "half_length_fraction", "exact"}


@dataclass(frozen=True)
class StepShape:
    """What a step's time depends on besides the machine."""

    model: ModelSettings
    optim: OptimSettings
    train: TrainSettings

    @property
    def key(self) -> str:
        """The same for runs whose steps are alike, however many they make and whatever they read."""
        return digest_json(
            {
                "model": self.model.model_dump(mode="json"),
                "optim": self.optim.model_dump(mode="json", include={"name", "block_rows"}),
                "train": self.train.model_dump(mode="json", include=_OF_TRAIN),
            }
        )


def shape_of_steps(config: RunConfig) -> StepShape:
    """Return what decides the time of a run's steps."""
    return StepShape(config.model, config.optim, config.train)


@dataclass(frozen=True)
class EarlierRun:
    """A run of the folder on this machine: the mean of the steps that were measured, and when.

    In `halved` of those each row was two sequences; a run that was resumed has others than its settings say.
    """

    shape: StepShape
    halved: float
    step_seconds: float
    ended_at: float


def keep_times(
    config: RunConfig, records: Sequence[Record], speed: dict[str, Any], require_owner: Require = no_owner
) -> None:
    """Write what a step took by the `records` of one process, where they hold enough of them; else nothing.

    `speed` is `speed_here` of what it computed in. Steps that were computed twice, for an audit, don't count.
    """
    plain = [record for record in records if not is_computed_twice(record)]
    steps = steady_steps(plain)
    if len(steps) < MIN_STEPS or sum(steps) < MIN_SECONDS:
        return
    numbers = [record["step"] for record in plain if record["event"] == "step"]
    shape = shape_of_steps(config)
    found = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "speed": speed,
        "of": {name: getattr(shape, name).model_dump(mode="json") for name in ("model", "optim", "train")},
        "half_length_fraction": sum(is_half_length(step - 1, config.train) for step in numbers) / len(numbers),
        "step_seconds": sum(steps) / len(steps),
        "num_steps": len(steps),
        "ended_at": records[-1]["time"],
    }
    write_json(config.run_dir / TIMES_FILE, found, require_owner)


def speed_here(dtype: str, num_threads: int, is_compiled: bool) -> dict[str, Any]:
    """Return what steps must share to say something of one another: how they compute, and the kind of processor."""
    flags = digest_json(sorted(cpu_flags()))
    return {"dtype": dtype, "num_threads": num_threads, "compiled": is_compiled, "flags": flags}


def earlier_runs(runs_dir: Path, speed: dict[str, Any], shape: StepShape | None = None) -> list[EarlierRun]:
    """Return what the newest runs of a folder took that computed as `speed` says; what can't be read isn't."""
    key = None if shape is None else shape.key
    newest_first = sorted(_read(runs_dir, speed), key=lambda run: -run.ended_at)
    own = [run for run in newest_first if run.shape.key == key]
    others = [run for run in newest_first if run.shape.key != key]
    return own[:MOST_RUNS] + others[:MOST_RUNS]


def _read(runs_dir: Path, speed: dict[str, Any]) -> Iterator[EarlierRun]:
    for path in sorted(runs_dir.glob(f"*/{TIMES_FILE}")):
        value = read_json_or_none(path)
        try:
            if (value["format"], value["format_version"]) == (FORMAT, FORMAT_VERSION) and value["speed"] == speed:
                yield _earlier_run(value)
        except (KeyError, TypeError, ValueError, OverflowError):  # not ours: pydantic's errors are ValueErrors
            continue


def _earlier_run(value: dict[str, Any]) -> EarlierRun:
    """Return the run of a file's JSON; raise KeyError, TypeError, ValueError or OverflowError for anything else."""
    of, numbers = value["of"], {name: float(value[name]) for name in _LONGEST}
    halved = float(value["half_length_fraction"])
    for name, most in _LONGEST.items():
        if isinstance(value[name], bool) or not 0 < numbers[name] <= most:
            raise ValueError(f"{name} is {value[name]}")
    if numbers["num_steps"] < MIN_STEPS or numbers["step_seconds"] < 1e-6 or not 0 <= halved <= 1:
        raise ValueError("too few steps, or none")
    shape = StepShape(
        ModelSettings.model_validate(of["model"]),
        OptimSettings.model_validate(of["optim"]),
        TrainSettings.model_validate(of["train"]),
    )
    return EarlierRun(shape, halved, numbers["step_seconds"], numbers["ended_at"])
