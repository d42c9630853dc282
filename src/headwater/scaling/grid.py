"""The law solved for (E, A, B) at every pair of a grid of exponents, in relative error and any covariance.

n runs · p pairs of exponents
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.scaling.arrays import FloatArray
from headwater.scaling.nnls import solve_nonnegative
from headwater.scaling.table import Runs


@dataclass(frozen=True)
class Grid:
    """coefficients (a, b, 3) are E and the terms A and B at the runs' mean sizes, of a alphas and b betas."""

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
    gram, moments = _normal_equations(constant, by_N, by_D, target)
    coefficients, squares = solve_nonnegative(gram, moments, float(target @ target))
    return Grid(alphas, betas, coefficients, squares, gram)


def squares_of_pairs(runs: Runs, alphas: FloatArray, betas: FloatArray, whitening: FloatArray) -> FloatArray:
    """Return the least sum of squares at pairs (alphas[i], betas[i]), taken from the errors themselves.

    The normal equations lose a sum that is 1e-16 of the losses' own, as that of a table without noise is.
    """
    columns = np.stack(
        [
            np.broadcast_to((whitening @ np.ones(len(runs)))[:, None], (len(runs), len(alphas))),
            whitening @ powers(runs.params, centre(runs.params), alphas),
            whitening @ powers(runs.tokens, centre(runs.tokens), betas),
        ]
    )
    target = whitening @ runs.loss
    gram = np.einsum("inp,jnp->pij", columns, columns)
    coefficients, _ = solve_nonnegative(gram, np.einsum("inp,n->pi", columns, target), float(target @ target))
    errors = target[:, None] - np.einsum("inp,pi->np", columns, coefficients)
    return np.asarray((errors**2).sum(axis=0))


def _normal_equations(
    constant: FloatArray, by_N: FloatArray, by_D: FloatArray, target: FloatArray
) -> tuple[FloatArray, FloatArray]:
    shape = (by_N.shape[1], by_D.shape[1])
    gram, moments = np.empty((*shape, 3, 3)), np.empty((*shape, 3))
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
