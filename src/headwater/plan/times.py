"""What steps took on this machine: of whole runs, kept in RUN/times.json for later plans. No torch.

times.json is of a processor alone, by one process, on an idle machine: such steps are what forecasts are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headwater.core.files import digest_json, write_json
from headwater.corpus.sources.settings import REPLAYED
from headwater.corpus.sources.size import source_bytes
from headwater.machine.host.facts import cpu_flags
from headwater.plan.forecast.processor import constants, step_flops
from headwater.plan.forecast.result import PREPARATION, Spread, checkpoint_bytes
from headwater.plan.text_size import tokens_of
from headwater.runfile.init import sources_replayed
from headwater.runfile.paths import read_kept
from headwater.runfile.rules import ALMANAC, pause_tokens
from headwater.runfile.run_config import RunConfig
from headwater.train.settings import (
    fraction_repeated,
    is_half_length,
    is_probe,
    probe_steps,
    recompute_of,
    validation_steps,
)

if TYPE_CHECKING:
    from headwater.core.records import Record
    from headwater.train.settings import TrainSettings

TIMES_FILE = "times.json"
MIN_TIMED_STEPS, MIN_TIMED_SECONDS = 30, 10.0  # of training: less is the moment's speed
MAX_OVER_MEDIAN = 1.5
"A step that took longer was held up: it compiled, waited for a save, or had its gradient checked."
UNKNOWN_HELD_OUT = 50_000  # tokens held out of a source whose size isn't known: a few megabytes of text have as many
_OF_TRAIN = {"batch_tokens", "microbatch_tokens", "half_length_fraction"}

Positive = Annotated[float, Field(strict=True, gt=1e-12, le=1e6, allow_inf_nan=False)]


def step_key(config: RunConfig) -> str:
    """Return what is the same for runs whose steps are alike, however many they make and whatever they read."""
    optim = config.optim.model_dump(mode="json", include={"name", "block_rows"})
    train = config.train.model_dump(mode="json", include=_OF_TRAIN)
    train["recompute"] = recompute_of(config.train, config.model.num_layers)
    return digest_json({"model": config.model.model_dump(mode="json"), "optim": optim, "train": train})


def flops_of_step(config: RunConfig) -> float:
    """Return the FLOPs of a run's step, on average over the run."""
    train, optim = config.train, config.optim
    return step_flops(
        config.model,
        train.batch_tokens,
        optim.block_rows,
        is_muon=optim.name == "muon",
        half_length_fraction=train.half_length_fraction,
        recompute_fraction=fraction_repeated(train),
    )


class MeasuredSteps(BaseModel):
    """The mean step of a run here, and its peak of memory; times.json has it as it is. `shape` is its `step_key`."""

    model_config = ConfigDict(frozen=True)

    format: Literal["headwater-times"] = "headwater-times"
    format_version: Literal[2] = 2
    shape: str
    d_model: int = Field(strict=True, ge=1, le=1_000_000)
    flops: float = Field(strict=True, ge=1.0, allow_inf_nan=False)
    step_seconds: Positive
    speed: dict[str, Any] = {}
    ended_at: float = 0.0
    peak_memory_bytes: Annotated[float, Field(strict=True, ge=1e6, le=1e15)] | None = None


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


def earlier_runs(config: RunConfig, speed: dict[str, Any]) -> list[MeasuredSteps]:
    """Return what runs beside this one and of its ladder took that computed as `speed` says, newest first.

    What can't be read isn't.
    """
    folders = Path(config.runs_dir), config.folders.ladder
    paths = chain.from_iterable(sorted(folder.glob(f"*/{TIMES_FILE}")) for folder in folders)
    found = [read_kept(path, MeasuredSteps) for path in paths]
    return sorted((run for run in found if run and run.speed == speed), key=lambda run: -run.ended_at)


def around_steps(config: RunConfig, step_seconds: float) -> dict[str, Spread]:
    """Return the seconds of everything but steps, by first-light's on one machine."""
    known, train, deviation = constants()["around_steps"], config.train, constants()["log_deviation"]["around"]
    per_token = step_seconds / train.batch_tokens  # of training, in which all that the model computes is counted
    held_out, has_almanac = _measured_text(config)
    seq_len, rows, of_base = config.model.seq_len, train.validation_sequences, int(config.init is not None)
    num_rows = fmean(min(rows, tokens / seq_len) for tokens in held_out)
    validation, probe = pause_tokens(len(held_out), num_rows, seq_len, has_almanac)
    save = checkpoint_bytes(config.model, config.optim) / known["checkpoint_bytes_per_second"]
    is_built = (config.folders.tokens / "manifest.json").is_file()
    text = 0.0 if is_built else sum(source_bytes(source) or 0.0 for source in config.corpus.sources.values())
    seconds = {
        "validations": (len(validation_steps(train)) + of_base) * validation * per_token,
        "probes": (len(probe_steps(train)) + of_base * is_probe(0, train)) * probe * per_token,
        "checkpoints": -(-train.num_steps // train.save_every) * save,
        PREPARATION: text / known["preparation_bytes_per_second"],
        "start": known["start_seconds"],
        "after": known["tokens_after"] * per_token,
    }
    return {name: Spread(each, deviation) for name, each in seconds.items()}


def _measured_text(config: RunConfig) -> tuple[list[int], bool]:
    """Return the held-out tokens of each source that a run is measured on, and whether probes are of the almanac."""
    sources, known = config.corpus.sources, tokens_of(config, "validation")
    replay = (0, False) if config.replay is None else sources_replayed(config.folders, config.replay.run)
    old = [tokens for name, tokens in known.items() if name.startswith(REPLAYED)] or [UNKNOWN_HELD_OUT] * replay[0]
    has_almanac = replay[1] or any(source.builtin in ALMANAC for source in sources.values())
    return [known.get(name, UNKNOWN_HELD_OUT) for name in sources] + old, has_almanac


def keep_times(config: RunConfig, records: Sequence[Record], speed: dict[str, Any]) -> None:
    """Write what the whole run took by its `records`, where one process made all its steps; else nothing.

    `speed` is `speed_here` of what it computed in.
    """
    seconds = [record["seconds"] for record in records if record["event"] == "step"]
    if len(seconds) < max(MIN_TIMED_STEPS, config.train.num_steps) or sum(seconds) < MIN_TIMED_SECONDS:
        return
    finish = records[-1]
    found = MeasuredSteps(
        shape=step_key(config),
        d_model=config.model.d_model,
        flops=flops_of_step(config),
        step_seconds=mean_step(records, config.train),
        speed=speed,
        ended_at=finish["time"],
        peak_memory_bytes=finish.get("peak_memory_bytes"),
    )
    write_json(config.run_dir / TIMES_FILE, found.model_dump(mode="json"))
