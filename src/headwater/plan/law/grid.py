"""The law solved for (E, A, B) at every pair of a grid of exponents, in relative error and any covariance.

n runs · e exponents of the grid
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.plan.law.nnls import solve_nonnegative
from headwater.plan.law.table import Runs

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """coefficients (e, e, 3) are E and the terms A and B at the runs' mean sizes; axis 0 is alpha and axis 1 beta."""

    exponents: FloatArray
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


def solve_grid(runs: Runs, space: FloatArray, whitening: FloatArray) -> Grid:
    """Return the non-negative least-squares solution at each pair of exponents.

    `whitening` (n, n) turns errors in loss into errors of unit variance: diag(1 / loss) for equal relative errors.
    """
    constant = whitening @ np.ones(len(runs))
    by_N = whitening @ powers(runs.params, centre(runs.params), space)
    by_D = whitening @ powers(runs.tokens, centre(runs.tokens), space)
    target = whitening @ runs.loss
    gram, moments = _normal_equations(constant, by_N, by_D, target)
    coefficients, squares = solve_nonnegative(gram, moments, float(target @ target))
    return Grid(space, coefficients, squares, gram)


def _normal_equations(
    constant: FloatArray, by_N: FloatArray, by_D: FloatArray, target: FloatArray
) -> tuple[FloatArray, FloatArray]:
    count = by_N.shape[1]
    gram, moments = np.empty((count, count, 3, 3)), np.empty((count, count, 3))
    gram[..., 0, 0] = constant @ constant
    gram[..., 1, 1] = (by_N**2).sum(axis=0)[:, None]
    gram[..., 2, 2] = (by_D**2).sum(axis=0)[None, :]
    gram[..., 0, 1] = gram[..., 1, 0] = (by_N.T @ constant)[:, None]
    gram[..., 0, 2] = gram[..., 2, 0] = (by_D.T @ constant)[None, :]
    gram[..., 1, 2] = gram[..., 2, 1] = by_N.T @ by_D
    moments[..., 0] = constant @ target
    moments[..., 1] = (by_N.T @ target)[:, None]
    moments[..., 2] = (by_D.T @ target)[None, :]
    return gram, moments
