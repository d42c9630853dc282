"""The law loss = E + A / params^alpha + B / tokens^beta, fitted as arXiv:2203.15556 does: the least Huber loss.

It is the baseline of every forecast and the curve that a reader knows. A forecast is another thing (posterior.py). The
law is linear for given exponents, so a grid of them finds the basins; the polish minimises the Huber loss (delta 1e-3)
of log errors over all five. On the paper's 240 points that is the optimum of a grid of 4,500 BFGS starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.errors import DataError
from headwater.scaling.arrays import FloatArray
from headwater.scaling.grid import Grid, centre, exponents, solve_grid
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, MIN_RUNS, Runs

HUBER_DELTA = 1e-3
NUM_STARTS = 3
# no published law leaves them; a step in loss would drive one to infinity
LEAST_EXPONENT, GREATEST_EXPONENT = 0.03, 1.5
_SMALLEST = 1e-9  # of the loss: a term that the grid put at zero starts here, since its logarithm is fitted
_MAX_LOG = 50.0  # a step may try absurd values, which must not overflow


@dataclass(frozen=True)
class Law:
    """loss(N, D) = E + A N^-alpha + B D^-beta. `objective` is the mean Huber loss it was fitted to."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    objective: float = math.nan

    def loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return the loss in the unit of the table that was fitted."""
        return self.E + self.A * np.power(params, -self.alpha) + self.B * np.power(tokens, -self.beta)

    def optimal_params(self, flops: float) -> float:
        """Return the size of the least loss at 6 N D = `flops` (arXiv:2203.15556, equation 4). A, B above zero."""
        scale = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        return float(scale * (flops / FLOPS_PER_PARAM_TOKEN) ** (self.beta / (self.alpha + self.beta)))


def fit_law(runs: Runs) -> Law:
    """Return the law of the least Huber loss; every run counts alike. Raises DataError for fewer than MIN_RUNS."""
    if len(runs) < MIN_RUNS:
        raise DataError(f"{len(runs)} runs can't carry a law of five unknowns; it needs {MIN_RUNS}: add runs")
    space = exponents(LEAST_EXPONENT, GREATEST_EXPONENT, count=48)
    grid = solve_grid(runs, space, space, np.diag(1 / runs.loss))
    return min((_polish(runs, start) for start in _starts(runs, grid)), key=lambda law: law.objective)


def _starts(runs: Runs, grid: Grid) -> list[FloatArray]:
    """Return the grid's best local minima, as logarithms of E, A', B' (terms at the runs' mean sizes), alpha, beta."""
    squares = np.pad(grid.squares, 1, constant_values=np.inf)
    rows, columns = grid.squares.shape
    around = [squares[1 + i : 1 + i + rows, 1 + j : 1 + j + columns] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    places = sorted(
        np.argwhere(grid.squares <= np.min(around, axis=0)).tolist(), key=lambda at: grid.squares[tuple(at)]
    )
    smallest = _SMALLEST * float(runs.loss.min())
    terms = [np.maximum(grid.coefficients[i, j], smallest) for i, j in places[:NUM_STARTS]]
    powers = [(grid.alphas[i], grid.betas[j]) for i, j in places[:NUM_STARTS]]
    return [np.log([*some, *both]) for some, both in zip(terms, powers, strict=True)]


def _polish(runs: Runs, start: FloatArray) -> Law:
    # scipy's optimisers take longer to import than most forecasts to make, and only this fit needs them
    from scipy.optimize import least_squares

    centre_N, centre_D = centre(runs.params), centre(runs.tokens)
    n, d, log_loss = np.log(runs.params) - centre_N, np.log(runs.tokens) - centre_D, np.log(runs.loss)

    def parts(x: FloatArray) -> FloatArray:
        alpha, beta = np.exp(x[3:])
        logs = np.stack([np.full_like(n, x[0]), x[1] - alpha * n, x[2] - beta * d])
        return np.exp(np.clip(logs, -_MAX_LOG, _MAX_LOG))

    def errors(x: FloatArray) -> FloatArray:
        return (np.log(parts(x).sum(axis=0)) - log_loss) / HUBER_DELTA

    def jacobian(x: FloatArray) -> FloatArray:
        alpha, beta = np.exp(x[3:])
        shares = parts(x)
        shares = shares / shares.sum(axis=0)
        return np.stack([*shares, -alpha * n * shares[1], -beta * d * shares[2]], axis=1) / HUBER_DELTA

    low, high = math.log(LEAST_EXPONENT), math.log(GREATEST_EXPONENT)
    bounds = ([-np.inf] * 3 + [low] * 2, [np.inf] * 3 + [high] * 2)
    inside = np.array([*start[:3], *np.clip(start[3:], low + 1e-9, high - 1e-9)])
    found = least_squares(
        errors, inside, jacobian, bounds, loss="huber", x_scale="jac", ftol=1e-12, xtol=1e-12, gtol=1e-12, max_nfev=2000
    )
    E, (alpha, beta) = math.exp(found.x[0]), np.exp(found.x[3:]).tolist()
    A, B = math.exp(found.x[1] + alpha * centre_N), math.exp(found.x[2] + beta * centre_D)
    return Law(E, A, B, alpha, beta, objective=float(found.cost) * HUBER_DELTA**2 / len(runs))
