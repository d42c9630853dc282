"""This device's own limits: the matrix-multiply peak, which utilisation is measured against, and memory bandwidth."""

from __future__ import annotations

import time
from collections.abc import Collection

import torch

# tokens, outputs, inputs: a square, and attention's and the MLP's maps of widths from 384 to 1024; the peak is the best
# any of them reaches. On a matrix unit they differ by half: without one of the shapes utilisation would be too high.
PEAK_SHAPES = (
    (1024, 1024, 1024),
    (4096, 384, 384),
    (4096, 1536, 384),
    (4096, 512, 512),
    (2048, 2048, 512),
    (2048, 768, 768),
    (2048, 2048, 768),
    (4096, 1024, 1024),
)
COPY_BYTES = 1 << 28  # far more than most caches hold
REPEATS = 4
MAX_INT8_SLOWDOWN = 4  # beside another dtype: where a library has no int8 product, a plain loop makes it


def matmul_peaks(device: torch.device, dtypes: Collection[torch.dtype]) -> dict[torch.dtype, float]:
    """Return the highest matmul rate seen in each dtype, in FLOP/s, over a few shapes and repeats (0.2 s a dtype).

    For int8 it is multiplications and additions a second, with sums in int32. The best of several, not the mean: other
    processes only ever make it slower, and a utilisation over 1 would be a lie of the denominator. The dtypes take
    turns, so that a busy moment isn't one dtype's alone and their order comes out the same on a busy machine.
    """
    best, still = dict.fromkeys(dtypes, 0.0), list(dtypes)
    for rows, columns, inner in PEAK_SHAPES:
        factors = {dtype: _factors(rows, columns, inner, device, dtype) for dtype in still}
        for _ in range(REPEATS + 1):  # one to warm up
            for dtype in still:
                left, right = factors[dtype]
                multiply = torch._int_mm if dtype == torch.int8 else torch.mm
                _synchronise(device)
                started_at = time.perf_counter()
                multiply(left, right)
                _synchronise(device)
                seconds = time.perf_counter() - started_at
                best[dtype] = max(best[dtype], 2 * rows * columns * inner / seconds)
            if torch.int8 in still and best[torch.int8] < max(best.values()) / MAX_INT8_SLOWDOWN:
                still.remove(torch.int8)
    return best


def _factors(
    rows: int, columns: int, inner: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ones as a linear map has them: an input, and a weight transposed."""
    left = torch.ones(rows, inner, device=device, dtype=dtype)
    return left, torch.ones(columns, inner, device=device, dtype=dtype).t()


def memory_bandwidth(device: torch.device) -> float:
    """Return bytes read plus bytes written in a second by the fastest of several copies of 256 MB (0.3 s on a CPU)."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(REPEATS):
        _synchronise(device)
        started_at = time.perf_counter()
        target.copy_(source)
        _synchronise(device)
        best = max(best, 2 * COPY_BYTES / (time.perf_counter() - started_at))
    return best


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
