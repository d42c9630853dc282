"""What a run's steps, validations, probes and saves took; kept in RUN/times.json for later plans. No torch.

times.json is of a processor alone, by one process, with nothing beside it: such steps are what forecasts are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from headwater.files import digest_json, write_json
from headwater.machine.host import cpu_flags
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.runs.paths import Require, read_json_or_none
from headwater.runs.run_config import RunConfig
from headwater.train.settings import TrainSettings, is_half_length

if TYPE_CHECKING:
    from headwater.records import Record

FORMAT, FORMAT_VERSION = "headwater-times", 1
TIMES_FILE = "times.json"
MIN_STEPS, MIN_SECONDS = 30, 10.0  # of training: less is the moment's speed
MAX_OVER_MEDIAN = 1.5
"A step that took longer was held up: it compiled, waited for a save, or was computed twice for an audit."
MANY = 5  # validations or probes
MOST_SECONDS = 1e6  # no step or part of ours takes more
LEAST_BYTES, MOST_BYTES = 1e6, 1e15  # of memory, that a process which trained can have had
_OF_TRAIN = {"batch_tokens", "microbatch_tokens", "recompute_fraction", "half_length_fraction", "exact"}


@dataclass(frozen=True)
class MeasuredAround:
    """Seconds around steps as they were measured; None where they weren't.

    `validated_token` is a token of a validation, `probe` a probe, `save` what a save takes from training.
    """

    validated_token: float | None = None
    probe: float | None = None
    save: float | None = None

    @classmethod
    def mean_of(cls, found: Sequence[MeasuredAround]) -> MeasuredAround:
        """Return the mean of each part over those that measured it."""
        parts = {each.name: [value for one in found if (value := getattr(one, each.name))] for each in fields(cls)}
        return cls(**{name: fmean(values) if values else None for name, values in parts.items()})


NOT_MEASURED = MeasuredAround()


@dataclass(frozen=True)
class StepShape:
    """What a step's time depends on besides the machine."""

    model: ModelSettings
    optim: OptimSettings
    train: TrainSettings

    @classmethod
    def of(cls, config: RunConfig) -> StepShape:
        return cls(config.model, config.optim, config.train)

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


@dataclass(frozen=True)
class MeasuredSteps:
    """Steps that were measured on this machine: their shape, mean, what lies around them, when, and the peak memory."""

    shape: StepShape
    step_seconds: float
    around: MeasuredAround = NOT_MEASURED
    ended_at: float = 0.0
    peak_memory_bytes: float | None = None


def mean_step(records: Sequence[Record], train: TrainSettings) -> float:
    """Return the mean seconds of the steps that nothing held up; rows of half the length are compared by themselves."""
    found, num_steps = 0.0, 0
    for halved in (True, False):
        steps = [record for record in records if record["event"] == "step"]
        seconds = [each["seconds"] for each in steps if is_half_length(each["step"] - 1, train) is halved]
        if seconds:
            most = MAX_OVER_MEDIAN * median(seconds)
            found += len(seconds) * fmean(each for each in seconds if each <= most)
            num_steps += len(seconds)
    return found / num_steps


def around_steps_of(records: Sequence[Record], num_validated_tokens: int, num_threads: int) -> MeasuredAround:
    """Return what the records of a finished run say of the time of its other parts.

    Training waits for a save's copy; the thread that writes it takes one core of those that compute.
    """
    validations = [record["evaluation_seconds"] for record in records if record["event"] == "validation"]
    probes: dict[int, float] = {}
    for record in records:
        if "evaluation_seconds" in record and record["event"] != "validation":
            probes[record["step"]] = probes.get(record["step"], 0.0) + record["evaluation_seconds"]
    saves = [r["seconds"] + r["background_seconds"] / num_threads for r in records if r["event"] == "checkpoint"]
    validation = _usual(validations)
    return MeasuredAround(
        validated_token=validation / num_validated_tokens if validation and num_validated_tokens else None,
        probe=_usual(list(probes.values())),
        save=fmean(saves) if saves else None,
    )


def _usual(seconds: Sequence[float]) -> float | None:
    """Return the mean of many, of few the last: the first compiles what all need. None of none."""
    return (fmean(seconds) if len(seconds) >= MANY else seconds[-1]) if seconds else None


def keep_times(
    config: RunConfig,
    records: Sequence[Record],
    speed: dict[str, Any],
    num_validated_tokens: int,
    require_owner: Require = lambda: None,
) -> None:
    """Write what the whole run took by its `records`, where one process made all its steps; else nothing.

    `speed` is `speed_here` of what it computed in.
    """
    seconds = [record["seconds"] for record in records if record["event"] == "step"]
    if len(seconds) < max(MIN_STEPS, config.train.num_steps) or sum(seconds) < MIN_SECONDS:
        return
    shape = StepShape.of(config)
    found = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "speed": speed,
        "of": {name: getattr(shape, name).model_dump(mode="json") for name in ("model", "optim", "train")},
        "step_seconds": mean_step(records, config.train),
        "around": asdict(around_steps_of(records, num_validated_tokens, speed["num_threads"])),
        "num_steps": len(seconds),
        "ended_at": records[-1]["time"],
        "peak_memory_bytes": records[-1].get("peak_memory_bytes"),
    }
    write_json(config.run_dir / TIMES_FILE, found, require_owner)


def speed_here(dtype: str, num_threads: int, is_compiled: bool) -> dict[str, Any]:
    """Return what steps must share to say something of one another: how they compute, and the kind of processor."""
    flags = digest_json(sorted(cpu_flags()))
    return {"dtype": dtype, "num_threads": num_threads, "compiled": is_compiled, "flags": flags}


def earlier_runs(runs_dir: Path, speed: dict[str, Any]) -> list[MeasuredSteps]:
    """Return what the runs of a folder took that computed as `speed` says, newest first; what can't be read isn't."""
    found = []
    for path in sorted(runs_dir.glob(f"*/{TIMES_FILE}")):
        value = read_json_or_none(path)
        try:
            if (value["format"], value["format_version"]) == (FORMAT, FORMAT_VERSION) and value["speed"] == speed:
                found.append(_earlier_run(value))
        except (KeyError, TypeError, ValueError, OverflowError):  # not ours: pydantic's errors are ValueErrors
            continue
    return sorted(found, key=lambda run: -run.ended_at)


def _earlier_run(value: dict[str, Any]) -> MeasuredSteps:
    """Return the run of a file's JSON; raise KeyError, TypeError or ValueError for anything else."""
    of, around = value["of"], dict(value.get("around") or {})  # older files have no `around`
    for seconds in [value["step_seconds"], *filter(None, around.values())]:
        if isinstance(seconds, bool) or not 1e-12 < seconds <= MOST_SECONDS:
            raise ValueError(f"{seconds} is no time")
    shape = StepShape(
        ModelSettings.model_validate(of["model"]),
        OptimSettings.model_validate(of["optim"]),
        TrainSettings.model_validate(of["train"]),
    )
    halved = shape.train.half_length_fraction
    if abs(float(value.get("half_length_fraction", halved)) - halved) > 0.05:
        raise ValueError("an older file of a resumed run, whose steps are not the whole run's")
    peak = float(value.get("peak_memory_bytes") or 0)
    if peak and not LEAST_BYTES <= peak <= MOST_BYTES:
        raise ValueError(f"{peak} is no peak of memory")
    return MeasuredSteps(shape, value["step_seconds"], MeasuredAround(**around), float(value["ended_at"]), peak or None)
