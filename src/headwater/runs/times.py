"""What steps took on this machine: of whole runs, kept in RUN/times.json for later plans, or just measured. No torch.

times.json is of a processor alone, by one process, on an idle machine: such steps are what forecasts are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.files import digest_json
from headwater.host.facts import cpu_flags
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.runs.paths import read_kept
from headwater.runs.run_config import RunConfig
from headwater.train.settings import TrainSettings, is_half_length

if TYPE_CHECKING:
    from headwater.records import Record

TIMES_FILE = "times.json"
MIN_STEPS, MIN_SECONDS = 30, 10.0  # of training: less is the moment's speed
MAX_OVER_MEDIAN = 1.5
"A step that took longer was held up: it compiled, waited for a save, or was computed twice for an audit."
_OF_TRAIN = {"batch_tokens", "microbatch_tokens", "recompute_fraction", "half_length_fraction", "exact"}

Positive = Annotated[float, Field(strict=True, gt=1e-12, le=1e6, allow_inf_nan=False)]
Bytes = Annotated[float, Field(strict=True, ge=1e6, le=1e15)]


class StepShape(BaseModel):
    """What a step's time depends on besides the machine."""

    model_config = ConfigDict(frozen=True)

    model: ModelSettings
    optim: OptimSettings
    train: TrainSettings

    @classmethod
    def of(cls, config: RunConfig) -> StepShape:
        return cls(model=config.model, optim=config.optim, train=config.train)

    @property
    def key(self) -> str:
        """The same for runs whose steps are alike, however many they make and whatever they read."""
        optim = self.optim.model_dump(mode="json", include={"name", "block_rows"})
        train = self.train.model_dump(mode="json", include=_OF_TRAIN)
        return digest_json({"model": self.model.model_dump(mode="json"), "optim": optim, "train": train})


class MeasuredSteps(BaseModel):
    """The mean step of a shape here and, of a whole run, its other times; times.json has it as it is.

    `rest_over_usual` is what its training took besides steps, over what a plan counts for that.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["headwater-times"] = "headwater-times"
    format_version: Literal[1] = 1
    of: StepShape
    step_seconds: Positive
    speed: dict[str, Any] = {}
    rest_over_usual: Positive | None = None
    ended_at: float = 0.0
    peak_memory_bytes: Bytes | None = None


@dataclass(frozen=True)
class Measurement:
    """What the run's own steps took here just now; `busy` is set where the machine was under load."""

    step_seconds: float
    num_steps: int
    dtype: str
    busy: str | None = None


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


def speed_here(dtype: str, num_threads: int, is_compiled: bool) -> dict[str, Any]:
    """Return what steps must share to say something of one another: how they compute, and the kind of processor."""
    flags = digest_json(sorted(cpu_flags()))
    return {"dtype": dtype, "num_threads": num_threads, "compiled": is_compiled, "flags": flags}


def earlier_runs(runs_dir: Path, speed: dict[str, Any]) -> list[MeasuredSteps]:
    """Return what the runs of a folder took that computed as `speed` says, newest first; what can't be read isn't."""
    found = [read_kept(path, MeasuredSteps) for path in sorted(runs_dir.glob(f"*/{TIMES_FILE}"))]
    return sorted((run for run in found if run and run.speed == speed), key=lambda run: -run.ended_at)
