"""What the ladder of a run left in its folder, and what it says of the run. No torch.

RUN/ladder has a folder for each rung, with `rung.json` when that is done, and when all are, `runs.csv` (a table for
`headwater ladder --table`) and `ladder.json`. They count as long as settings and text are those they were made with.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter

from headwater.files import digest_json, write_text
from headwater.host.facts import cpu_flags, gpu_name
from headwater.host.threads import usable_cores
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.runs.paths import Folders, read_json_or_none, stage_digest
from headwater.runs.run_config import RunConfig

if TYPE_CHECKING:
    from headwater.scaling.table import Runs

FORMAT = "headwater-ladder"
LADDER_VERSION = 2  # rungs read their text as often as the run
BITS_PER_BYTE = "bits per byte"
SOURCE_COLUMN = "bits_per_byte_"
SHAPE = ("num_layers", "d_model", "num_heads", "num_kv_heads", "head_dim", "d_ff")
Bits = Annotated[float, Field(strict=True, gt=0, lt=1e6)]


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

    `step_seconds` is that of steady training. `busy` is set where the machine was under load: its times say nothing of
    an idle one.
    """

    rung: Rung
    loss: dict[str, Bits]
    step_seconds: float
    seconds: float
    dtype: str
    num_threads: int
    device_name: str
    busy: str | None = None


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


def read_ladder(config: RunConfig) -> list[DoneRung]:
    """Return the rungs of this run's finished ladder; none where settings or text have changed since."""
    found = read_json_or_none(ladder_dir(config.run_dir) / "ladder.json")
    try:
        is_same = found["format"] == FORMAT and found["of"] == same_make(config)
        rungs = TypeAdapter(list[DoneRung]).validate_python(found["rungs"]) if is_same else []
    except (KeyError, TypeError, ValueError):  # pydantic's errors are ValueErrors
        return []
    return rungs if all("all" in done.loss for done in rungs) else []


def ladder_table(config: RunConfig) -> Path | None:
    """Return the table of the run's own ladder, whose loss is in bits per byte; None without one of these settings."""
    return ladder_dir(config.run_dir) / "runs.csv" if read_ladder(config) else None


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
