"""The law solved for (E, A, B) at every pair of a grid of exponents, none negative, in any covariance of errors.

Three coefficients have seven sets that can be positive: each is solved in closed form from the normal equations, and
the best without a negative entry is the answer (the problem is convex). scipy's nnls does one problem a call.

n runs · a alphas · b betas
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.scaling.arrays import FloatArray
from headwater.scaling.table import Runs

_SETS = [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,)]
_RIDGE = 1e-12  # two columns that are the same up to rounding


@dataclass(frozen=True)
class Grid:
    """`coefficients` (a, b, 3) are E and the terms A and B at the runs' mean sizes; `gram` (a, b, 3, 3) is XᵀX."""

    alphas: FloatArray
    betas: FloatArray
    coefficients: FloatArray
    squares: FloatArray
    gram: FloatArray


def exponents(low: float, high: float, count: int) -> FloatArray:
    """Return exponents evenly spaced in their logarithm."""
    return np.exp(np.linspace(math.log(low), math.log(high), count))


def centre(sizes: FloatArray) -> float:
    """Return the mean of the logarithms, around which powers are taken."""
    return float(np.log(sizes).mean())


def powers(sizes: FloatArray, around: float, space: FloatArray) -> FloatArray:
    """Return (size / e^around)^-exponent, one row a size and one column an exponent."""
    return np.exp(-np.outer(np.log(sizes) - around, space))


def solve_grid(runs: Runs, alphas: FloatArray, betas: FloatArray, whitening: FloatArray) -> Grid:
    """Return the non-negative least-squares solution at each pair of exponents.

    `whitening` (n, n) turns errors in loss into errors of unit variance: diag(1 / loss) for equal relative errors.
    """
    constant = whitening @ np.ones(len(runs))
    by_N = whitening @ powers(runs.params, centre(runs.params), alphas)
    by_D = whitening @ powers(runs.tokens, centre(runs.tokens), betas)
    target = whitening @ runs.loss
    gram, moments = np.empty((len(alphas), len(betas), 3, 3)), np.empty((len(alphas), len(betas), 3))
    gram[..., 0, 0] = constant @ constant
    gram[..., 1, 1] = (by_N**2).sum(axis=0)[:, None]
    gram[..., 2, 2] = (by_D**2).sum(axis=0)[None, :]
    gram[..., 0, 1] = gram[..., 1, 0] = (by_N.T @ constant)[:, None]
    gram[..., 0, 2] = gram[..., 2, 0] = (by_D.T @ constant)[None, :]
    gram[..., 1, 2] = gram[..., 2, 1] = by_N.T @ by_D
    moments[..., 0] = constant @ target
    moments[..., 1] = (by_N.T @ target)[:, None]
    moments[..., 2] = (by_D.T @ target)[None, :]
    coefficients, squares = solve_nonnegative(gram, moments, float(target @ target))
    return Grid(alphas, betas, coefficients, squares, gram)


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
