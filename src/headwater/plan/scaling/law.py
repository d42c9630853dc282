"""The law loss = E + A / params^alpha + B / tokens^beta: at exponents of a grid, and fitted as the literature does.

`fit_law` is arXiv:2203.15556's: the least Huber loss (delta 1e-3) of log errors. It is the baseline of every forecast
and the curve that a reader knows; a forecast is another thing (posterior.py). The law is linear for given exponents,
so a grid of them finds the basins, and the polish changes all five. On the paper's 240 points that is the optimum of a
grid of 4,500 BFGS starts. Small tables have several basins: of 320 made-up ones of 6 to 8 runs eight ended 1 % or more
above the least of 14 starts from the grid's best minimum alone, one from the four starts here (2026-11-30).

n runs · a alphas · b betas
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.plan.scaling.table import FLOPS_PER_PARAM_TOKEN, FloatArray, Runs

HUBER_DELTA = 1e-3
NUM_STARTS = 3  # minima of the grid
# of the loss: where a term starts that the grid put at zero, since its logarithm is fitted; of the best minimum at both
SMALLEST_START, NEAR_ZERO = 0.02, 1e-9
# no published law leaves them; a step in loss would drive one to infinity
LEAST_EXPONENT, GREATEST_EXPONENT = 0.03, 1.5
_SETS = [(0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,)]  # of coefficients that may be positive
_RIDGE = 1e-12  # two columns that are the same up to rounding


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


@dataclass(frozen=True)
class Grid:
    """`coefficients` (a, b, 3) are E and the terms A and B at the runs' mean sizes; `gram` (a, b, 3, 3) is XᵀX."""

    coefficients: FloatArray
    squares: FloatArray
    gram: FloatArray


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
    constant, target = whitening.sum(axis=1), whitening @ runs.loss
    by_N = whitening @ powers(runs.params, centre(runs.params), alphas)
    by_D = whitening @ powers(runs.tokens, centre(runs.tokens), betas)
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
    return Grid(*solve_nonnegative(gram, moments, float(target @ target)), gram)


def solve_nonnegative(gram: FloatArray, moments: FloatArray, total: float) -> tuple[FloatArray, FloatArray]:
    """Return (coefficients, sums of squares) of min |y - X c|² with c >= 0, over any leading axes.

    gram (..., 3, 3) is XᵀX, moments (..., 3) is Xᵀy and total is yᵀy. Each of the seven sets that can be positive is
    solved in closed form, and the best without a negative entry is the answer (the problem is convex): scipy's nnls
    does one problem a call.
    """
    least, best = np.full(moments.shape[:-1], total), np.zeros_like(moments)
    scale = np.sqrt(np.einsum("...ii->...i", gram))
    correlation = gram / (scale[..., :, None] * scale[..., None, :]) + _RIDGE * np.eye(3)
    scaled = moments / scale
    for positive in _SETS:
        index = np.array(positive)
        solved = np.zeros_like(best)
        solved[..., index] = np.linalg.solve(correlation[..., index[:, None], index], scaled[..., index, None])[..., 0]
        squares = total - np.einsum("...i,...i", solved, scaled)
        better = (solved >= 0).all(axis=-1) & (squares < least)
        least, best = np.where(better, squares, least), np.where(better[..., None], solved / scale, best)
    return best, np.maximum(least, 0.0)


def fit_law(runs: Runs) -> Law:
    """Return the law of the least Huber loss; every run counts alike."""
    space = np.geomspace(LEAST_EXPONENT, GREATEST_EXPONENT, 48)
    grid = solve_grid(runs, space, space, np.diag(1 / runs.loss))
    return min((_polish(runs, start) for start in _starts(runs, grid, space)), key=lambda law: law.objective)


def _starts(runs: Runs, grid: Grid, space: FloatArray) -> list[FloatArray]:
    """Return the grid's best local minima, as `_polish` takes them."""
    squares = np.pad(grid.squares, 1, constant_values=np.inf)
    around = np.lib.stride_tricks.sliding_window_view(squares, (3, 3)).min(axis=(2, 3))
    places = sorted(np.argwhere(grid.squares <= around).tolist(), key=lambda at: grid.squares[tuple(at)])[:NUM_STARTS]
    least = float(runs.loss.min())
    return [
        np.log([*np.maximum(grid.coefficients[i, j], smallest * least), space[i], space[j]])
        for (i, j), smallest in [(places[0], NEAR_ZERO), *((place, SMALLEST_START) for place in places)]
    ]


def _polish(runs: Runs, start: FloatArray) -> Law:
    """Return the nearest law; `start` has logarithms of E, A', B' (terms at the runs' mean sizes), alpha and beta."""
    # scipy's optimisers take longer to import than most forecasts to make, and only this fit needs them
    from scipy.optimize import least_squares

    centre_N, centre_D = centre(runs.params), centre(runs.tokens)
    n, d, log_loss = np.log(runs.params) - centre_N, np.log(runs.tokens) - centre_D, np.log(runs.loss)

    def terms(x: FloatArray) -> FloatArray:
        """Return the logarithms of the three terms, one row each."""
        alpha, beta = np.exp(x[3:])
        return np.stack([np.full_like(n, x[0]), x[1] - alpha * n, x[2] - beta * d])

    def errors(x: FloatArray) -> FloatArray:
        return (np.logaddexp.reduce(terms(x)) - log_loss) / HUBER_DELTA

    def jacobian(x: FloatArray) -> FloatArray:
        shares = np.exp(terms(x) - np.logaddexp.reduce(terms(x)))
        by_exponent = -np.exp(x[3:, None]) * np.stack([n, d]) * shares[1:]
        return np.concatenate([shares, by_exponent]).T / HUBER_DELTA

    low, high = math.log(LEAST_EXPONENT), math.log(GREATEST_EXPONENT)
    bounds = ([-np.inf] * 3 + [low] * 2, [np.inf] * 3 + [high] * 2)
    inside = np.array([*start[:3], *np.clip(start[3:], low + 1e-9, high - 1e-9)])
    tolerances = {"ftol": 1e-12, "xtol": 1e-12, "gtol": 1e-12, "max_nfev": 2000}
    found = least_squares(errors, inside, jacobian, bounds, loss="huber", x_scale="jac", **tolerances)
    E, (alpha, beta) = math.exp(found.x[0]), np.exp(found.x[3:]).tolist()
    A, B = math.exp(found.x[1] + alpha * centre_N), math.exp(found.x[2] + beta * centre_D)
    return Law(E, A, B, alpha, beta, objective=float(found.cost) * HUBER_DELTA**2 / len(runs))
