"""What the ladder of a run left in its folder, and what it says of the run. No torch.

RUN/ladder has the rungs that were chosen in `ladder.json`, a folder for each, with `rung.json` when that is done, and
when all are, `runs.csv` (a table for `headwater ladder --table`). All of it counts as long as settings and text are
those of `ladder.json`; else the next ladder puts it aside as RUN/ladder-1, ladder-2 and so on. What steps took is in
the `times.json` of their folders, as that of any run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from headwater.files import digest_json, write_text
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.runs.paths import read_kept, stage_digest
from headwater.runs.run_config import RunConfig, train_plan

if TYPE_CHECKING:
    from headwater.scaling.table import Runs

LADDER_VERSION = 2  # rungs read their text as often as the run
SOURCE_COLUMN = "bits_per_byte_"
Bits = Annotated[float, Field(strict=True, gt=0, lt=1e6)]


@dataclass(frozen=True)
class Rung:
    """One run: its model, its length, and what it takes."""

    model: ModelSettings
    num_steps: int
    tokens: float
    flops: float
    seconds: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.model.num_layers, self.model.d_model

    @property
    def params(self) -> float:
        return float(count_parameters(self.model).total)

    @property
    def name(self) -> str:
        return f"{self.model.num_layers}x{self.model.d_model}-{self.num_steps}"


@dataclass(frozen=True)
class DoneRung:
    """A rung and what it measured. `loss` has bits per byte of held-out text, by source and of "all".

    `base` has those of the model that a run starts from, before its first step.
    """

    rung: Rung
    loss: dict[str, Bits]
    seconds: float
    base: dict[str, Bits] | None = None


@dataclass(frozen=True)
class Design:
    """`ladder.json`: the rungs that were chosen for a run, smallest compute first; `make` is what they share.

    `share` is the part of the run's own time that was given, None where none was.
    """

    make: str
    share: float | None
    rungs: list[Rung]
    format: Literal["headwater-ladder"] = "headwater-ladder"
    format_version: Literal[3] = 3


def make_of(config: RunConfig) -> str:
    """Return the digest of what a run shares with its ladder: text, and all settings that decide its loss."""
    text = stage_digest(config.folders.tokens)
    return digest_json([LADDER_VERSION, train_plan(config).identity(), config.machine.dtype, text])


def read_design(config: RunConfig) -> Design | None:
    """Return the rungs that were chosen for this run; None where settings or text have changed since."""
    found = read_kept(config.folders.ladder / "ladder.json", Design)
    return found if found is not None and found.make == make_of(config) else None


def rung_file(config: RunConfig, rung: Rung) -> Path:
    return config.folders.ladder / rung.name / "rung.json"


def done_rung(config: RunConfig, rung: Rung) -> DoneRung | None:
    """Return what a rung of this run's ladder measured; None where it isn't done."""
    found = read_kept(rung_file(config, rung), DoneRung)
    return replace(found, rung=rung) if found is not None and "all" in found.loss else None


def read_ladder(config: RunConfig) -> list[DoneRung]:
    """Return the rungs of this run's finished ladder; none where one is missing, or settings or text have changed."""
    design = read_design(config)
    found = [done_rung(config, rung) for rung in design.rungs] if design else []
    done = [rung for rung in found if rung is not None]
    return done if len(done) == len(found) else []


def ladder_table(config: RunConfig) -> Path | None:
    """Return the table of the run's own ladder, whose loss is in bits per byte; None without one of these settings."""
    return config.folders.ladder / "runs.csv" if read_ladder(config) else None


def table_of(done: Sequence[DoneRung]) -> Runs:
    """Return rungs as the rows of a law, with the bits per byte of all text.

    Sizes leave embedding and head out. Of small models these are nearly all there is and don't do the work: over all
    parameters eleven runs lay up to 1.5 % off any law, without these 0.4 (docs/log.md, 2026-11-28).
    """
    from headwater.scaling.table import runs_of  # where there are rungs

    rungs = [each.rung for each in done]
    losses = [each.loss["all"] for each in done]
    runs = runs_of([size_of(rung.model) for rung in rungs], [rung.tokens for rung in rungs], losses)
    return replace(runs, total=np.array([rung.params for rung in rungs]))


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
    writer.writerow([*columns, *(SOURCE_COLUMN + name for name in sources)])
    for done in rungs:
        rung = done.rung
        sizes = [f"{rung.params:.0f}", f"{rung.tokens:.0f}", f"{epochs:.4g}", f"{done.loss['all']:.6f}", seed]
        shape = [*rung.shape, rung.num_steps, f"{rung.flops:.6g}"]
        writer.writerow([*sizes, *shape, *(f"{done.loss[name]:.6f}" for name in sources)])
    write_text(path, out.getvalue())
