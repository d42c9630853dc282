"""What a run takes on a processor: how long a step is, and what its process holds at its peak. No torch.

A step is its FLOPs, the model's and those of Muon's products, which cost the cube of the width whatever the tokens,
over a rate. As a part of the machine's peak that is the rate of whole steps in `data/processor.json`, interpolated in
the logarithm of the width and held at the ends. An efficiency for each part of a step was no nearer (docs/log.md).

The peak is that of a step while the last save is being written: a constant of the process, text, weights and optimizer
state twice, and what the step adds. Where earlier runs of the same shape measured either, plans take theirs.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from headwater.forecast.work import BYTES_PER_VALUE, EXACT_BYTES, PeakBytes, Work, checkpoint_bytes
from headwater.model.count import count_parameters, flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.settings import orthogonalisation_flops, rows_of_block

USUAL = "usual"
PROCESS_BYTES, PROBE_BYTES = 370 * 2**20, 75 * 2**20
"""Of a run's process, libraries and what it loads as it goes; of probes, their items and what generation leaves. By
runs of 4 million parameters (docs/log.md, 2026-11-30)."""
SLACK_FRACTION = 0.25
"Of activations: what is allocated again while the last is still held."
CACHED_LOGITS, CHUNK_TOKENS, LOGITS_CHUNK = 1 << 22, 512, 1 << 24  # of a chunk of the loss (`cpu_kernels.functions`)
INDEX_FRACTION = 0.16
"Of the token store's bytes: which rows they make."


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
    query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    for width, num in ((query, 2), (key, 2), (model.d_ff, 2 if model.family == "gpt2" else 3)):
        shorter, longer = sorted((width, model.d_model))
        size = rows_of_block(shorter, block_rows)
        total += num * model.num_layers * shorter // size * orthogonalisation_flops(size, longer)
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


def process_bytes(token_bytes: float) -> float:
    """Return what a process holds besides its model, of which a token store with its index is mapped."""
    return PROCESS_BYTES + (1 + INDEX_FRACTION) * token_bytes


def run_memory(work: Work, token_bytes: float, *, exact: bool = False, has_probes: bool = False) -> PeakBytes:
    """Return the peak of a run of one process whose token store has `token_bytes`; of ranks see `rank_memory`.

    A save's copy of weights and optimizer state is still being written in the next step's first microbatch at least.
    That adds the weights as products take them (in int8 the head's twice, as with VNNI: its gradients take bf16) and,
    whichever is more, what its forward pass keeps, with the head's gradient and a chunk of logits, or all gradients at
    its end, where a tied embedding's isn't added yet to the head's.
    `exact`: gradients are summed as integers.
    """
    model, parameters = work.model, count_parameters(work.model)
    head = BYTES_PER_VALUE * model.vocab_size * model.d_model
    gradients = BYTES_PER_VALUE * parameters.total
    logits = min(LOGITS_CHUNK, max(CACHED_LOGITS, CHUNK_TOKENS * model.vocab_size))
    activations = (1 + SLACK_FRACTION) * work.microbatch_tokens * kept_bytes_per_token(work)
    of_step = max(activations + head + work.value_bytes * logits, gradients + head * model.tied_embeddings)
    state = 2 * checkpoint_bytes(model, work.optim) + work.value_bytes * parameters.matmul
    state += model.vocab_size * model.d_model if work.dtype == "int8" else 0
    state += EXACT_BYTES * parameters.total if exact else 0
    return PeakBytes(process_bytes(token_bytes) + PROBE_BYTES * has_probes, state, 0.0, of_step)


def kept_bytes_per_token(work: Work) -> float:
    """Return what the forward pass keeps of a token: blocks, of recomputed ones their two inputs, and the ends.

    Of recomputed blocks one at a time is kept whole. Selective ones keep the outputs of products and attention, too. Of
    a block these are two sums of the residual stream, heads before and after they are split, attention's output, gate
    and up; inputs of the four products. Log sums are fp32.
    """
    model, value_bytes = work.model, work.value_bytes
    gates, heads = 1 if model.family == "gpt2" else 2, (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    products = value_bytes * (model.d_model + heads + model.num_heads * model.head_dim + gates * model.d_ff)
    products += 4 * model.num_heads
    block = products + value_bytes * (3 * model.d_model + heads + model.d_ff) + 4 * 2
    is_selective = work.recompute == "selective"
    again = model.num_layers if work.recompute == "selective" else min(work.recompute, model.num_layers)
    kept_again = 2 * value_bytes * model.d_model + (products if is_selective else 0)
    # the last sum and norm; ids, targets and documents in int64, of this portion and of one fetched ahead
    ends = 2 * value_bytes * model.d_model + 2 * 3 * 8
    return max(1, model.num_layers - again) * block + again * kept_again + ends
