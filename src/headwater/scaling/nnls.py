"""Least squares with three coefficients that may not be negative, solved exactly for many problems together.

Three coefficients have seven sets that can be positive: each is solved in closed form from the normal equations, and
the best solution without a negative entry is the answer (the least squares are convex, so the constrained optimum is
the unconstrained one of its own positive set). scipy's nnls does one problem a call, a thousand times slower here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headwater.scaling.arrays import FloatArray

_SETS = [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,)]
_RIDGE = 1e-12  # two columns that are the same up to rounding


def solve_nonnegative(gram: FloatArray, moments: FloatArray, total: float) -> tuple[FloatArray, FloatArray]:
    """Return (coefficients, sums of squares) of min |y - X c|² with c >= 0, over any leading axes.

    gram (..., 3, 3) is XᵀX, moments (..., 3) is Xᵀy and total is yᵀy.
    """
    least = np.full(moments.shape[:-1], total)  # of all coefficients at zero
    best = np.zeros_like(moments)
    for positive in _SETS:
        index = np.array(positive)
        solved, squares = _solve(gram[..., index[:, None], index], moments[..., index], total)
        better = (solved >= 0).all(axis=-1) & (squares < least)
        least = np.where(better, squares, least)
        full = np.zeros_like(best)
        full[..., index] = solved
        best = np.where(better[..., None], full, best)
    return best, np.maximum(least, 0.0)


def _solve(gram: FloatArray, moments: FloatArray, total: float) -> tuple[Any, Any]:
    scale = np.sqrt(np.einsum("...ii->...i", gram))
    scaled = gram / (scale[..., :, None] * scale[..., None, :]) + _RIDGE * np.eye(gram.shape[-1])
    solved = np.linalg.solve(scaled, (moments / scale)[..., None])[..., 0] / scale
    return solved, total - np.einsum("...i,...i", solved, moments)
