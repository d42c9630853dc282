"""How long a step takes on a processor: FLOPs of its parts over a peak and measured efficiencies. No torch.

A step on a processor isn't one rate: linear maps multiply in int8, the loss in bf16 out of cache, attention in
kernels, and Muon's products cost the cube of the width whatever the tokens. Each part has its own efficiency, from
the shapes in `data/processor.json` (benchmarks/processor_shapes.py), interpolated in the logarithm of the width and
held at the ends.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.blocks import orthogonalisation_flops, rows_of_block

PARTS = ("matmul", "loss", "attention", "optimizer", "other")
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
    """What a step's work depends on."""

    num_layers: int
    d_model: int
    seq_len: float  # on average over the run
    vocab_size: int
    block_weights: int
    query_width: int
    matrices: tuple[tuple[int, int, int], ...]
    "(rows, columns, how many) of what Muon makes orthogonal, the shorter side first; empty where there is no Muon."


def sizes_of(model: ModelSettings, is_muon: bool, block_rows: int | None, half_length_fraction: float = 0.0) -> Sizes:
    query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    mlp = 2 if model.family == "gpt2" else 3
    layers = model.num_layers
    matrices = (
        (query, model.d_model, 2 * layers),
        (key, model.d_model, 2 * layers),
        (model.d_ff, model.d_model, mlp * layers),
    )
    blocks = count_parameters(model).matmul - model.vocab_size * model.d_model
    parts = tuple(_in_blocks(*matrix, block_rows) for matrix in matrices) if is_muon else ()
    return Sizes(
        layers, model.d_model, model.seq_len * (1 - half_length_fraction / 2), model.vocab_size, blocks, query, parts
    )


def _in_blocks(rows: int, columns: int, num: int, block_rows: int | None) -> tuple[int, int, int]:
    shorter, longer = sorted((rows, columns))
    size = rows_of_block(shorter, block_rows)
    return size, longer, num * shorter // size


def muon_flops(matrices: tuple[tuple[int, int, int], ...], on_processor: bool = True) -> float:
    """Return FLOPs of Muon's iterations over matrices as in `Sizes.matrices`, either side first."""
    return sum(
        num * orthogonalisation_flops(min(rows, columns), max(rows, columns), on_processor)
        for rows, columns, num in matrices
    )


def step_flops(sizes: Sizes, batch_tokens: int, recompute_fraction: float = 0.0) -> dict[str, float]:
    """Return the work of a step by part, in FLOPs; `other` (norms, activations, copies) in numbers that pass by.

    Recomputed blocks run their forward pass, a third of forward and backward, once more.
    """
    again = 1 + recompute_fraction / 3
    attention = 6 * sizes.num_layers * sizes.query_width * (sizes.seq_len + 1)
    return {
        "matmul": 6.0 * sizes.block_weights * batch_tokens * again,
        "loss": 6.0 * sizes.vocab_size * sizes.d_model * batch_tokens,
        "attention": attention * batch_tokens * again,
        "optimizer": muon_flops(sizes.matrices),
        "other": float(sizes.num_layers * sizes.d_model * batch_tokens) * again,
    }


@dataclass(frozen=True)
class Peaks:
    """The machine's rates of matrix products in FLOP/s: of the blocks' maps, and of all else. `how` says from where.

    `kind` is that of `kind_of`: where products are faster, a step reaches a smaller part of them, since memory and
    what is no product don't gain.
    """

    maps: float
    rest: float
    dtype: str
    how: str
    kind: str = USUAL


def step_seconds(sizes: Sizes, batch_tokens: int, peaks: Peaks, recompute_fraction: float = 0.0) -> float:
    """Return the seconds of a step by the efficiencies of `data/processor.json`."""
    work = step_flops(sizes, batch_tokens, recompute_fraction)
    rates = efficiencies(sizes.d_model, peaks.dtype, peaks.kind)
    return sum(work[part] / ((peaks.maps if part == "matmul" else peaks.rest) * rates[part]) for part in PARTS)


def efficiencies(d_model: int, dtype: str, kind: str = USUAL) -> dict[str, float]:
    """Return each part's work over seconds and peak at a width; the peak is bf16's but for int8's linear maps."""
    measured = measured_kind(kind)
    peaks = measured["peak_flops_per_second"]
    table = [_measured(shape, "int8" if dtype == "int8" else "bfloat16", peaks) for shape in measured["shapes"]]
    widths = [math.log(shape["d_model"]) for shape in measured["shapes"]]
    at = math.log(d_model)
    return {part: math.exp(float(np.interp(at, widths, [math.log(row[part]) for row in table]))) for part in PARTS}


def _measured(shape: dict[str, Any], dtype: str, peaks: dict[str, float]) -> dict[str, float]:
    model = _model(shape)
    tokens = shape["rows"] * shape["seq_len"]
    work = step_flops(sizes_of(model, is_muon=True, block_rows=shape["block_rows"]), tokens)
    total = sum(shape["shares"].values())  # rounded to whole percents
    seconds = {part: shape["int8_ms"] / 1000 * share / total for part, share in shape["shares"].items()}
    if dtype == "bfloat16":
        seconds["matmul"] += (shape["bfloat16_ms"] - shape["int8_ms"]) / 1000
    peak_of = dict.fromkeys(PARTS, peaks["bfloat16"]) | {"matmul": peaks[dtype]}
    return {part: work[part] / seconds[part] / peak_of[part] for part in PARTS}


def _model(shape: dict[str, Any]) -> ModelSettings:
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
