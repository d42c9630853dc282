"""What this machine could do at a shape: measured rates, and from them the least time of each part of a step.

N tokens of a step · D model width · F MLP width · B rows · H heads · T sequence · K head width
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from headwater.machine.device.facts import ACTIVATIONS, DTYPES
from headwater.machine.device.peak import matmul_peaks
from headwater.model.count import count_parameters
from headwater.model.optim.settings import orthogonalisation_flops, rows_of_block
from headwater.model.settings import ModelSettings

REPEATS = 7
COPY_BYTES = 1 << 28  # far more than any cache holds
MASTER_BYTES = 4


@dataclass(frozen=True)
class Limit:
    """The least seconds of a part, and what they are made of."""

    seconds: float
    how: str


def best_seconds(function: Callable[[], object]) -> float:
    """Return the shortest of several runs: load on the machine only makes a run longer."""
    function()
    best = float("inf")
    for _ in range(REPEATS):
        started_at = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started_at)
    return best


def copy_bytes_per_second() -> float:
    """Return the memory bandwidth of a copy: bytes read plus bytes written in a second."""
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / best_seconds(lambda: target.copy_(source))


def linear_seconds(num_tokens: int, width_in: int, width_out: int, dtype: torch.dtype) -> float:
    """Return the time of a linear map's three matmuls: forward, gradient of its input, gradient of its weight."""
    x = torch.ones(num_tokens, width_in, dtype=dtype)
    weight = torch.ones(width_out, width_in, dtype=dtype)
    y = torch.ones(num_tokens, width_out, dtype=dtype)
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    forward = best_seconds(lambda: multiply(x, weight.T))
    return forward + best_seconds(lambda: multiply(y, weight)) + best_seconds(lambda: multiply(y.T, x))


def attention_flops_per_second(rows: int, model: ModelSettings, dtype: torch.dtype) -> float:
    """Return the rate of the two batched matmuls of attention over whole squares of scores."""
    q_HTK = torch.ones(rows * model.num_heads, model.seq_len, model.head_dim, dtype=dtype)
    scores_HTT = torch.ones(rows * model.num_heads, model.seq_len, model.seq_len, dtype=dtype)
    flops = 4 * q_HTK.numel() * model.seq_len
    seconds = best_seconds(lambda: q_HTK @ q_HTK.mT) + best_seconds(lambda: scores_HTT @ q_HTK)
    return flops / seconds


def block_matrices(model: ModelSettings) -> list[tuple[int, int]]:
    """Return (input, output) width of each matrix of a gated block."""
    query, key = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    attention = [(model.d_model, query), (model.d_model, key), (model.d_model, key), (query, model.d_model)]
    return [*attention, (model.d_model, model.d_ff), (model.d_model, model.d_ff), (model.d_ff, model.d_model)]


def step_limits(model: ModelSettings, block_rows: int | None, rows: int, dtype_name: str) -> dict[str, Limit]:
    """Return the limit of each part of a step of `rows` rows, measured now; dtypes as in machine.dtype."""
    matmul_dtype, dtype = getattr(torch, dtype_name), DTYPES[ACTIVATIONS.get(dtype_name, dtype_name)]
    num_tokens = rows * model.seq_len
    matrices = block_matrices(model)
    seconds_of = {shape: linear_seconds(num_tokens, *shape, matmul_dtype) for shape in set(matrices)}
    matmul = model.num_layers * sum(seconds_of[shape] for shape in matrices)
    flops = 6 * num_tokens * model.num_layers * sum(width_in * width_out for width_in, width_out in matrices)
    attention_flops = 12 * model.num_layers * model.num_heads * model.head_dim * (model.seq_len + 1) / 2 * num_tokens
    attention_rate = attention_flops_per_second(rows, model, dtype)
    bandwidth = copy_bytes_per_second()
    head = linear_seconds(num_tokens, model.d_model, model.vocab_size, dtype)
    return {
        "matmul": Limit(matmul, f"its matmuls alone: {flops / matmul / 1e9:,.0f} GFLOP/s at these shapes"),
        "attention": Limit(
            attention_flops / attention_rate,
            f"the causal half at {attention_rate / 1e9:,.0f} GFLOP/s, the rate of its batched matmuls",
        ),
        "loss": Limit(head, "the head's three matmuls alone"),
        "optimizer": _optimizer_limit(model, block_rows, matmul_peaks(torch.device("cpu"), [dtype])[dtype], bandwidth),
        "data": Limit(0.0, "nothing to wait for"),
        "other": _elementwise_limit(model, num_tokens, dtype.itemsize, bandwidth),
    }


def _muon_flops(shorter: int, longer: int, block_rows: int | None) -> float:
    rows = rows_of_block(shorter, block_rows)
    return shorter / rows * orthogonalisation_flops(rows, longer)


def _optimizer_limit(model: ModelSettings, block_rows: int | None, flops_per_second: float, bandwidth: float) -> Limit:
    matrices = block_matrices(model)
    in_matrices = model.num_layers * sum(width_in * width_out for width_in, width_out in matrices)
    others = count_parameters(model).total - in_matrices
    # Muon reads gradient, momentum and weight and writes two of them; AdamW reads four and writes three
    traffic = MASTER_BYTES * (5 * in_matrices + 7 * others)
    flops = model.num_layers * sum(_muon_flops(min(pair), max(pair), block_rows) for pair in matrices)
    seconds = traffic / bandwidth + flops / flops_per_second
    return Limit(
        seconds,
        f"{traffic / 1e6:,.0f} MB at {bandwidth / 1e9:.1f} GB/s, and {flops / 1e9:.1f} GFLOP of orthogonalisation",
    )


def _elementwise_limit(model: ModelSettings, num_tokens: int, itemsize: int, bandwidth: float) -> Limit:
    """Return the time of the least traffic of norms, rotation, gates, residuals and casts, nothing kept in a cache.

    A token and block read and write, forward: 2 D for the first norm, 4 D for norm and rotation of query and key,
    4 D for the residual with the second norm, 3 F for the gate, 3 D for the last residual; backward twice that.
    """
    activations = 3 * num_tokens * model.num_layers * (13 * model.d_model + 3 * model.d_ff) * itemsize
    casts = count_parameters(model).matmul * (MASTER_BYTES + itemsize) if itemsize < MASTER_BYTES else 0
    traffic = activations + casts
    return Limit(traffic / bandwidth, f"{traffic / 1e6:,.0f} MB at {bandwidth / 1e9:.1f} GB/s if no cache helps")
