"""What the ladder of a run left in its folder, and what it says of the run. No torch.

RUN/ladder has `design.json` (the rungs that were chosen), a folder for each rung and, when all are done, `runs.csv` (a
table for `headwater ladder --table`) and `ladder.json`. A rung's `rung.json` is written when it is done. Each counts as
long as settings and text are those it was made with; of a finished ladder the schedule of the learning rate may differ.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.files import digest_json, write_text
from headwater.machine.host import cpu_flags, gpu_name
from headwater.machine.threads import usable_cores
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import ScheduleSettings
from headwater.runs.paths import Folders, read_json_or_none, stage_digest
from headwater.runs.run_config import RunConfig

if TYPE_CHECKING:
    from headwater.scaling.table import Runs

FORMAT = "headwater-ladder"
RUNG_FILE = "rung.json"
LADDER_VERSION = 2  # rungs read their text as often as the run
BITS_PER_BYTE = "bits per byte"
SOURCE_COLUMN = "bits_per_byte_"
SHAPE = ("num_layers", "d_model", "num_heads", "num_kv_heads", "head_dim", "d_ff")


@dataclass(frozen=True)
class Rung:
    """One run: its shape, its length, and what it takes."""

    num_layers: int
    d_model: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    d_ff: int
    num_steps: int
    params: float
    tokens: float
    flops: float
    seconds: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.num_layers, self.d_model

    @property
    def name(self) -> str:
        return f"{self.num_layers}x{self.d_model}-{self.num_steps}"


@dataclass(frozen=True)
class DoneRung:
    """A rung and what it measured. `loss` has bits per byte of held-out text, by source and of "all".

    `step_seconds` is that of steady training.
    `busy` is set where the machine was under load: its times say nothing of an idle one.
    """

    rung: Rung
    loss: dict[str, float]
    step_seconds: float
    seconds: float
    dtype: str
    num_threads: int
    device_name: str
    busy: str | None = None


@dataclass(frozen=True)
class DoneLadder:
    """A finished ladder: its rungs, and the schedule of the run that it was made for."""

    rungs: list[DoneRung]
    schedule: ScheduleSettings


@dataclass(frozen=True)
class UnfinishedLadder:
    """A ladder that isn't done: the rungs trained so far, smallest compute first, of `num_rungs`."""

    done: list[DoneRung]
    num_rungs: int

    @property
    def says(self) -> str:
        return f"{len(self.done)} of {self.num_rungs} rungs are trained; rerun headwater ladder RUN to continue"


def ladder_dir(run_dir: Path) -> Path:
    return run_dir / "ladder"


def is_shape_of(rung: Rung, config: RunConfig) -> bool:
    return rung.shape == (config.model.num_layers, config.model.d_model)


def same_make(config: RunConfig) -> dict[str, Any]:
    """Return the settings that a run shares with its ladder: all that decide its loss."""
    settings = config.model_dump(mode="json")
    train = {name: settings["train"][name] for name in ("num_steps", "batch_tokens", "half_length_fraction")}
    kept = {name: settings[name] for name in ("model", "optim", "schedule")} | {"mixture": config.mixture.as_key()}
    return kept | {
        "ladder": LADDER_VERSION,
        "train": train,
        "dtype": settings["machine"]["dtype"],
        "text": stage_digest(Folders(config.run_dir).tokens),
    }


def same_speed(config: RunConfig) -> dict[str, Any]:
    """Return what a run's steps share with its ladder's: the machine, and how the work is cut up."""
    train, machine = config.train, config.machine
    how = {"microbatch_tokens": train.microbatch_tokens, "recompute_fraction": train.recompute_fraction}
    here = {
        "cores": machine.num_threads or usable_cores(),
        "gpu": gpu_name(),
        "flags": digest_json(sorted(cpu_flags())),
    }
    return how | here | {"device": machine.device, "dtype": machine.dtype, "compile": machine.compile}


def is_as_fast(config: RunConfig) -> bool:
    """Return whether the ladder's steps were made on this machine, and as the run would make its own."""
    found = read_json_or_none(ladder_dir(config.run_dir) / "ladder.json")
    return isinstance(found, dict) and found.get("speed") == same_speed(config)


def done_ladder(config: RunConfig) -> DoneLadder | None:
    """Return the finished ladder of this run; None when settings or text have changed since.

    Another schedule of the learning rate throws no ladder away: what that changes is known (plan_loss).
    """
    found = read_json_or_none(ladder_dir(config.run_dir) / "ladder.json")
    try:
        schedule = ScheduleSettings.model_validate(found["of"]["schedule"])
        is_same = {**found["of"], "schedule": None} == {**same_make(config), "schedule": None}
        rungs = [done_rung(value) for value in found["rungs"]] if found["format"] == FORMAT and is_same else []
    except (KeyError, TypeError, ValueError):
        return None
    return DoneLadder(rungs, schedule) if rungs else None


def read_ladder(config: RunConfig) -> list[DoneRung]:
    """Return the rungs of this run's finished ladder, none where there is none."""
    found = done_ladder(config)
    return [] if found is None else found.rungs


def unfinished_ladder(config: RunConfig) -> UnfinishedLadder | None:
    """Return the ladder of this run that was begun and isn't done; None without one of these settings and this text."""
    found = read_json_or_none(ladder_dir(config.run_dir) / "design.json")
    make = same_make(config)
    try:
        rungs = [Rung(**rung) for rung in found["rungs"]] if found["of"]["run"] == make else []
    except (KeyError, TypeError):
        return None
    finished = done_ladder(config)
    is_done = finished is not None and finished.schedule == config.schedule
    if is_done or not any((ladder_dir(config.run_dir) / rung.name).is_dir() for rung in rungs):
        return None
    return UnfinishedLadder(trained_rungs(config, rungs), len(rungs))


def trained_rungs(config: RunConfig, rungs: Sequence[Rung]) -> list[DoneRung]:
    """Return what those of the run's rungs measured that are done, with its settings and its text."""
    make, done = same_make(config), []
    for rung in rungs:
        found = read_json_or_none(ladder_dir(config.run_dir) / rung.name / RUNG_FILE)
        try:
            if found["of"] == make:
                done.append(replace(done_rung(found["rung"]), rung=rung))
        except (KeyError, TypeError, ValueError):
            continue
    return done


def table_of(done: Sequence[DoneRung], model: ModelSettings, source: str = "all") -> Runs:
    """Return the rungs of a run of this model as the rows of a law, with the bits per byte of one source.

    Sizes leave embedding and head out. Of small models these are nearly all there is and don't do the work: over all
    parameters eleven runs lay up to 1.5 % off any law, without these 0.4 (docs/log.md, 2026-11-28).
    """
    from headwater.scaling.table import runs_of  # where there are rungs

    rungs = [rung.rung for rung in done]
    losses = [rung.loss[source] for rung in done]
    runs = runs_of([size_of(model_of(rung, model)) for rung in rungs], [rung.tokens for rung in rungs], losses)
    return replace(runs, total=np.array([rung.params for rung in rungs]))


def model_of(rung: Rung, model: ModelSettings) -> ModelSettings:
    """Return the model of a rung of a run of `model`."""
    return model.model_copy(update={name: getattr(rung, name) for name in SHAPE})


def size_of(model: ModelSettings) -> float:
    """Return the parameters of a model's layers: those that a ladder's law counts."""
    return float(count_parameters(model).matmul - model.vocab_size * model.d_model)


def ladder_table(config: RunConfig) -> Path | None:
    """Return the table of the run's own ladder, whose loss is in bits per byte; None without one of these settings."""
    return ladder_dir(config.run_dir) / "runs.csv" if read_ladder(config) else None


def done_rung(value: dict[str, Any]) -> DoneRung:
    """Return the rung of its JSON; raise KeyError, TypeError or ValueError for anything else."""
    loss = dict(value["loss"])
    if not all(0 < bits < 1e6 for bits in loss.values()) or "all" not in loss:
        raise ValueError("bits per byte must be above zero")
    known = _of_fields(DoneRung, value)
    bits = {str(name): float(bits) for name, bits in loss.items()}
    return DoneRung(**{**known, "rung": Rung(**value["rung"]), "loss": bits})


def _of_fields(kind: type, value: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a dataclass's fields; older ladders have others, too, and lack some."""
    return {each.name: value[each.name] for each in fields(kind) if each.name in value}


def write_table(path: Path, rungs: Sequence[DoneRung], seed: int, epochs: float) -> None:
    """Write the rungs as a table that `headwater ladder --table` reads; each source's bits per byte has a column.

    All of them read their text `epochs` times.
    """
    sources = [name for name in rungs[0].loss if name != "all"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = ["params", "tokens", "epochs", "loss", "seed", "num_layers", "d_model", "num_steps", "flops"]
    writer.writerow([*columns, "seconds_per_step", *(SOURCE_COLUMN + name for name in sources)])
    for done in rungs:
        rung = done.rung
        sizes = [f"{rung.params:.0f}", f"{rung.tokens:.0f}", f"{epochs:.4g}", f"{done.loss['all']:.6f}", seed]
        shape = [rung.num_layers, rung.d_model, rung.num_steps, f"{rung.flops:.6g}", f"{done.step_seconds:.5g}"]
        writer.writerow([*sizes, *shape, *(f"{done.loss[name]:.6f}" for name in sources)])
    write_text(path, out.getvalue())
