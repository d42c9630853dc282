"""How long a step takes on a processor: its FLOPs over a rate that was measured at five widths. No torch.

FLOPs are the model's and those of Muon's products, which cost the cube of the width whatever the tokens. The rate, as a
part of the machine's peak, is that of whole steps in `data/processor.json`, interpolated in the logarithm of the width
and held at the ends. An efficiency for each part of a step was no nearer (docs/log.md, 2026-11-28).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from headwater.model.count import flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.blocks import orthogonalisation_flops, rows_of_block

USUAL = "usual"


@cache
def constants() -> dict[str, Any]:
    """Return `data/processor.json`: what was measured, where, and the spreads that forecasts take."""
    text = resources.files("headwater.forecast").joinpath("data", "processor.json").read_text(encoding="utf-8")
    return json.loads(text)


def kind_of(flags: set[str]) -> str:
    """Return which kind of processor lists these instructions, of those whose shapes were measured; see its `how`."""
    return str(next(kind["name"] for kind in constants()["kinds"] if flags.issuperset(kind["flags"])))


def measured_kind(name: str) -> dict[str, Any]:
    """Return the shapes, the peaks and the gains over fp32 of a kind of processor."""
    return next(kind for kind in constants()["kinds"] if kind["name"] == name)


@dataclass(frozen=True)
class Sizes:
    """What a step's work depends on, in FLOPs a token where not said otherwise; `blocks` can be recomputed."""

    d_model: int
    model: float
    blocks: float
    matrices: tuple[tuple[int, int, int], ...]
    "(rows, columns, how many) of what Muon makes orthogonal, the shorter side first; empty where there is no Muon."


def sizes_of(model: ModelSettings, is_muon: bool, block_rows: int | None, half_length_fraction: float = 0.0) -> Sizes:
    """Return the work of a step, in rows of half the length in a part of the run."""
    query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    mlp = 2 if model.family == "gpt2" else 3
    layers = model.num_layers
    matrices = (
        (query, model.d_model, 2 * layers),
        (key, model.d_model, 2 * layers),
        (model.d_ff, model.d_model, mlp * layers),
    )
    whole = flops_per_token(model, half_length_fraction)
    head = 6 * model.vocab_size * model.d_model
    parts = tuple(_in_blocks(*matrix, block_rows) for matrix in matrices) if is_muon else ()
    return Sizes(model.d_model, whole, whole - head, parts)


def _in_blocks(rows: int, columns: int, num: int, block_rows: int | None) -> tuple[int, int, int]:
    shorter, longer = sorted((rows, columns))
    size = rows_of_block(shorter, block_rows)
    return size, longer, num * shorter // size


def muon_flops(matrices: tuple[tuple[int, int, int], ...]) -> float:
    """Return FLOPs of Muon's iterations over matrices as in `Sizes.matrices`, either side first."""
    return sum(num * orthogonalisation_flops(min(rows, columns), max(rows, columns)) for rows, columns, num in matrices)


def step_flops(sizes: Sizes, batch_tokens: int, recompute_fraction: float = 0.0) -> float:
    """Return the FLOPs of a step; recomputed blocks run their forward pass, a third of the whole, once more."""
    return (sizes.model + recompute_fraction / 3 * sizes.blocks) * batch_tokens + muon_flops(sizes.matrices)


@dataclass(frozen=True)
class Peaks:
    """The machine's rate of matrix products in FLOP/s. `how` says from where; `kind` is that of `kind_of`."""

    rate: float
    dtype: str
    how: str
    kind: str = USUAL


def step_seconds(sizes: Sizes, batch_tokens: int, peaks: Peaks, recompute_fraction: float = 0.0) -> float:
    """Return the seconds of a step by the measured parts of the peak in `data/processor.json`."""
    flops = step_flops(sizes, batch_tokens, recompute_fraction)
    return flops / (peaks.rate * utilisation(sizes.d_model, peaks.dtype, peaks.kind))


def utilisation(d_model: int, dtype: str, kind: str = USUAL) -> float:
    """Return the part of the peak that a whole step reaches at a width; fp32 reaches what bf16 does."""
    measured, known = measured_kind(kind), "int8" if dtype == "int8" else "bfloat16"
    peak = measured["peak_flops_per_second"][known]
    widths = [math.log(shape["d_model"]) for shape in measured["shapes"]]
    rates = [math.log(_rate(shape, known) / peak) for shape in measured["shapes"]]
    return math.exp(float(np.interp(math.log(d_model), widths, rates)))


def _rate(shape: dict[str, Any], dtype: str) -> float:
    sizes = sizes_of(shape_model(shape), is_muon=True, block_rows=shape["block_rows"])
    return step_flops(sizes, shape["rows"] * shape["seq_len"]) / (shape[f"{dtype}_ms"] / 1000)


def shape_model(shape: dict[str, Any]) -> ModelSettings:
    """Return the model of a measured shape."""
    width, heads = shape["d_model"], shape["num_heads"]
    return ModelSettings(
        vocab_size=shape["vocab_size"],
        num_layers=shape["num_layers"],
        d_model=width,
        d_ff=round(8 * width / 3 / 64) * 64,
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=width // heads,
        seq_len=shape["seq_len"],
        tied_embeddings=False,
    )
