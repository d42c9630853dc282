"""This device's own matrix-multiply peak: what utilisation is measured against."""

from __future__ import annotations

import time

import torch

# square, and the shapes of a small and a large model's MLP: the peak is the best any of them reaches
PEAK_SHAPES = ((1024, 1024, 1024), (4096, 512, 512), (2048, 2048, 512))
REPEATS = 12


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the highest matmul rate seen, in FLOP/s, over a few shapes and repeats (about 0.3 s on a CPU).

    The best of several, not the mean: other processes only ever make it slower, and a utilisation over 1 would
    be a lie of the denominator.
    """
    best = 0.0
    for rows, columns, inner in PEAK_SHAPES:
        left = torch.ones(rows, inner, device=device, dtype=dtype)
        right = torch.ones(columns, inner, device=device, dtype=dtype)
        torch.nn.functional.linear(left, right)
        for _ in range(REPEATS):
            _synchronise(device)
            started_at = time.perf_counter()
            torch.nn.functional.linear(left, right)
            _synchronise(device)
            best = max(best, 2 * rows * columns * inner / (time.perf_counter() - started_at))
    return best


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
