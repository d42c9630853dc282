"""What a run takes on a processor: how long a step is, and what its process holds at its peak. No torch.

A step is its FLOPs, the model's and those of Muon's products, which cost the cube of the width whatever the tokens,
over a rate. As a part of the machine's peak that is the rate of whole steps in `data/processor.json`, interpolated in
the logarithm of the width and held at the ends. An efficiency for each part of a step was no nearer (docs/log.md).

The peak is that of a step while the last save is being written: a constant of the process, text, a copy of weights and
optimizer state, and a rank's account of the step. Where earlier runs of the same shape measured either, plans take
theirs.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from headwater.model.count import block_shapes, flops_per_token
from headwater.model.optim.settings import orthogonalisation_flops, rows_of_block
from headwater.model.settings import ModelSettings
from headwater.plan.forecast.rank_memory import BlockKernels, fullest_peak
from headwater.plan.forecast.result import PeakBytes, StepWork, checkpoint_bytes

USUAL = "usual"
PROCESS_BYTES, PROBE_BYTES = 370 * 2**20, 75 * 2**20
"""Of a run's process, libraries and what it loads as it goes; of the almanac's probes, their items. By runs of 4
million parameters (docs/log.md, 2026-11-30). Those of a run's own text took 25 to 29 MB more, which the first has."""
FUSED = BlockKernels(are_fused=True, loss_tokens=256)
KEPT_SLACK, EXCHANGED_SLACK = 0.1, 0.5
"Of activations and of what is exchanged: allocated again while the last is still held (docs/log.md)."
INDEX_FRACTION = 0.16
"Of the token store's bytes: which rows they make."


@cache
def constants() -> dict[str, Any]:
    """Return `data/processor.json`: what was measured, where, and the spreads that forecasts take."""
    text = resources.files("headwater.plan.forecast").joinpath("data", "processor.json").read_text(encoding="utf-8")
    return json.loads(text)


def kind_of(flags: set[str]) -> str:
    """Return which kind of processor lists these instructions, of those whose shapes were measured; see its `how`."""
    return str(next(kind["name"] for kind in constants()["kinds"] if flags.issuperset(kind["flags"])))


def measured_kind(name: str) -> dict[str, Any]:
    """Return the shapes, the peaks and the gains over fp32 of a kind of processor."""
    return next(kind for kind in constants()["kinds"] if kind["name"] == name)


@dataclass(frozen=True)
class Peaks:
    """The machine's rate of matrix products in FLOP/s. `how` says from where; `kind` is that of `kind_of`."""

    rate: float
    dtype: str
    how: str
    kind: str = USUAL


def step_flops(
    model: ModelSettings,
    tokens: int,
    block_rows: int | None = None,
    *,
    is_muon: bool = True,
    half_length_fraction: float = 0.0,
    recompute_fraction: float = 0.0,
) -> float:
    """Return the FLOPs of a step, the model's and Muon's products' in blocks of `block_rows` (None: whole matrices).

    A part of the tokens may be in rows of half the length; recomputed blocks run their forward pass, a third of the
    whole, once more.
    """
    whole = flops_per_token(model, half_length_fraction)
    blocks = whole - 6 * model.vocab_size * model.d_model
    return (whole + recompute_fraction / 3 * blocks) * tokens + (muon_flops(model, block_rows) if is_muon else 0)


def muon_flops(model: ModelSettings, block_rows: int | None = None) -> float:
    """Return those of Muon's products in an update."""
    total = 0.0
    for shorter, longer in (sorted(shape) for shape in block_shapes(model).values() if len(shape) == 2):
        size = rows_of_block(shorter, block_rows)
        total += model.num_layers * shorter // size * orthogonalisation_flops(size, longer)
    return total


def step_seconds(flops: float, d_model: int, peaks: Peaks) -> float:
    """Return the seconds of a step of so many FLOPs by the measured parts of the peak in `data/processor.json`."""
    return flops / (peaks.rate * utilisation(d_model, peaks.dtype, peaks.kind))


def utilisation(d_model: int, dtype: str, kind: str = USUAL) -> float:
    """Return the part of the peak that a whole step reaches at a width; fp32 reaches what bf16 does."""
    measured, known = measured_kind(kind), "int8" if dtype == "int8" else "bfloat16"
    peak = measured["peak_flops_per_second"][known]
    widths = [math.log(shape["d_model"]) for shape in measured["shapes"]]
    rates = [math.log(shape["flops"] / (shape[f"{known}_ms"] / 1000) / peak) for shape in measured["shapes"]]
    return math.exp(float(np.interp(math.log(d_model), widths, rates)))


def memory(work: StepWork, text_bytes: float, *, probes_almanac: bool = False) -> PeakBytes:
    """Return the peak of a rank on a processor, whose part of the token store has so many bytes.

    It is the account of a GPU's rank, and the copy of its part of a save, which is still being written in the first
    microbatch of the next step; several ranks hold more, as if in all (docs/log.md, What two ranks hold).
    """
    first = work if work.mesh.world_size > 1 else replace(work, num_microbatches=1)
    found = fullest_peak(first, FUSED)
    copy = checkpoint_bytes(work.model, work.optim) / work.mesh.world_size
    process = PROCESS_BYTES + PROBE_BYTES * probes_almanac + (1 + INDEX_FRACTION) * text_bytes
    slack = KEPT_SLACK * found.activations + EXCHANGED_SLACK * found.exchanged
    return PeakBytes(process, found.state + copy, found.exchanged, found.activations, slack)
