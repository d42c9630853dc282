"""The law loss = E + A / params^alpha + B / tokens^beta, fitted by variable projection and one Huber polish.

For given exponents the law is linear, so a grid over (alpha, beta) with non-negative least squares for (E, A, B) finds
the basin; the polish then minimises the Huber loss (delta 1e-3) of the error in log loss, the objective of
arXiv:2203.15556, over all five. On its 240 points this gives the optimum that a grid of 4500 BFGS starts gives, in a
fraction of a second. Exponents stay in the range of the grid, which no published law leaves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from headwater.errors import DataError
from headwater.scaling.arrays import FloatArray
from headwater.scaling.grid import Grid, centre, exponents, solve_grid
from headwater.scaling.table import MIN_RUNS, Runs

HUBER_DELTA = 1e-3
NUM_STARTS = 3
LEAST_EXPONENT, GREATEST_EXPONENT = 0.03, 1.5  # a step in loss would drive an exponent, and with it A or B, to infinity
_LEAST_LOG, _GREATEST_LOG = math.log(LEAST_EXPONENT), math.log(GREATEST_EXPONENT)
_JUST = 1e-9  # a start lies this far inside: beyond its range an exponent is held, with a gradient of zero
_MAX_LOG = 50.0  # a line search may try absurd values, which must not overflow
_SMALLEST = 1e-9  # of the loss: a term that the grid put at zero starts here, since its logarithm is what is fitted


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


def fit_law(runs: Runs) -> Law:
    """Return the law of the least Huber loss; every run counts the same, and only Huber's delta tames outliers."""
    if len(runs) < MIN_RUNS:
        raise DataError(f"{len(runs)} runs can't carry a law of five unknowns; it needs {MIN_RUNS}: add runs")
    space = exponents(LEAST_EXPONENT, GREATEST_EXPONENT, count=48)
    grid = solve_grid(runs, space, space, np.diag(1 / runs.loss))
    problem = _Huber(runs)
    fits = [problem.polish(start) for start in problem.starts(grid)]
    return min(fits, key=lambda law: law.objective)


class _Huber:
    """The objective in the logarithms x of E, A', B', alpha, beta; A' and B' are the terms at the runs' mean sizes."""

    def __init__(self, runs: Runs) -> None:
        self._centre_N, self._centre_D = centre(runs.params), centre(runs.tokens)
        self._n, self._d = np.log(runs.params) - self._centre_N, np.log(runs.tokens) - self._centre_D
        self._log_loss = np.log(runs.loss)
        self._smallest = _SMALLEST * float(runs.loss.min())

    def starts(self, grid: Grid) -> list[FloatArray]:
        """Return the grid's best local minima, at most NUM_STARTS."""
        squares = np.pad(grid.squares, 1, constant_values=np.inf)
        rows, columns = grid.squares.shape
        around = [squares[1 + i : 1 + i + rows, 1 + j : 1 + j + columns] for i in (-1, 0, 1) for j in (-1, 0, 1)]
        places = np.argwhere(grid.squares <= np.min(around, axis=0))
        best = sorted(places.tolist(), key=lambda place: float(grid.squares[tuple(place)]))[:NUM_STARTS]
        return [self._start(grid, i, j) for i, j in best]

    def _start(self, grid: Grid, i: int, j: int) -> FloatArray:
        terms = np.log(np.maximum(grid.coefficients[i, j], self._smallest))
        logs = np.log([grid.alphas[i], grid.betas[j]]).clip(_LEAST_LOG + _JUST, _GREATEST_LOG - _JUST)
        return np.array([*terms, *logs])

    def value(self, x: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return the sum of Huber losses in units of delta², its gradient, and the Jacobian of the log errors."""
        alpha, beta = _exponents(x)
        slope_N, slope_D = np.where((x[3:] >= _LEAST_LOG) & (x[3:] <= _GREATEST_LOG), (alpha, beta), 0.0)
        logs = np.stack([np.full_like(self._n, x[0]), x[1] - alpha * self._n, x[2] - beta * self._d])
        parts = np.exp(np.clip(logs, -_MAX_LOG, _MAX_LOG))
        predicted = parts.sum(axis=0)
        error = (np.log(predicted) - self._log_loss) / HUBER_DELTA
        shares = parts / predicted
        jacobian = np.stack([*shares, -slope_N * self._n * shares[1], -slope_D * self._d * shares[2]]) / HUBER_DELTA
        small = np.abs(error) <= 1
        total = float(np.where(small, error**2 / 2, np.abs(error) - 0.5).sum())
        return total, jacobian @ np.clip(error, -1, 1), jacobian

    def polish(self, x: FloatArray) -> Law:
        """Minimise from x, in coordinates in which the objective curves alike in all directions."""
        for _ in range(4):
            before, _, jacobian = self.value(x)
            curvature = jacobian @ jacobian.T
            curvature += 1e-10 * np.trace(curvature) * np.eye(5)
            to_x = np.linalg.inv(np.linalg.cholesky(curvature)).T

            def scaled(u: FloatArray, origin: FloatArray = x, to_x: FloatArray = to_x) -> tuple[float, FloatArray]:
                total, gradient, _ = self.value(origin + to_x @ u)
                return total, to_x.T @ gradient

            found = minimize(scaled, np.zeros(5), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 500})
            x = x + to_x @ found.x
            if before - found.fun < 1e-10 * max(before, 1e-12):
                break
        return self._law(x)

    def _law(self, x: FloatArray) -> Law:
        total, _, _ = self.value(x)
        mean = total * HUBER_DELTA**2 / len(self._n)
        E, alpha, beta = math.exp(x[0]), *(float(value) for value in _exponents(x))
        A, B = math.exp(x[1] + alpha * self._centre_N), math.exp(x[2] + beta * self._centre_D)
        return Law(E=E, A=A, B=B, alpha=alpha, beta=beta, objective=mean)


def _exponents(x: FloatArray) -> FloatArray:
    return np.asarray(np.exp(x[3:].clip(_LEAST_LOG, _GREATEST_LOG)).clip(LEAST_EXPONENT, GREATEST_EXPONENT))
