"""The law loss = E + A / params^alpha + B / tokens^beta: at exponents of a grid, and fitted as the literature does.

`fit_law` is arXiv:2203.15556's: the least Huber loss (delta 1e-3) of log errors. It is the baseline of every forecast
and the curve that a reader knows; a forecast is another thing (`Posterior`). The law is linear for given exponents,
so a grid of them finds the basins, and the polish changes all five. On the paper's 240 points that is the optimum of a
grid of 4,500 BFGS starts. Small tables have several basins: of 320 made-up ones of 6 to 8 runs eight ended 1 % or more
above the least of 14 starts from the grid's best minimum alone, one from the four starts here (2026-11-30).

What the rows say together with the prior: exponents weighed on a grid, and smooth departures from the law.

A run's log loss is the law, plus a departure that is alike for runs of like size (a Gaussian process in log params
and log tokens), plus noise. The departure is why residuals of neighbouring runs resemble each other, and modelling it
does two things that a plain fit can't: forecasts near the rows follow the rows, and a hundred rows with the same
fault count as the few independent facts they are. It has two further parts: one that runs of the same params share,
whose shape and rates are the same, and one of starved runs, whose warm-up is a large share of their few tokens: those
say less of the law, and more of each other. Exponents aren't chosen but averaged over, by likelihood and prior.

Rows high above the best loss get more noise: they are barely trained or starved, where the law is known to be wrong,
and no forecast is wanted there. Rows further off than the rest allow get more noise still (Huber's weights), in
rounds.

n runs fitted · a alphas · b betas · t targets · e exponents of the grid · k pairs of exponents kept
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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


NOISE = 0.002  # of one run, relative: what reruns of OLMo's ladder show, and the errors of a digitised figure
WIDTH = 0.15  # of the logarithm of exponents; see benchmarks/law_backtest.py
ENOUGH = 40.0  # tokens per parameter
_LONG_QUANTILE = 0.9
_SAME_SIZE = 0.02  # natural logs of params over which what runs of one size share falls off


@dataclass(frozen=True)
class Prior:
    """A log-normal on the geometric mean of the two exponents, and on their ratio around one.

    Published exponents differ by a factor of six, mostly because single fits scatter along a valley: a high exponent
    with a high floor fits like a low one with a low floor. A narrow prior picks the place in the valley, and rows that
    do tell exponents apart overrule it. Its centre is that of published laws, each family counted once
    (benchmarks/data/scaling/published_laws.json).
    """

    centre: float = 0.26372084
    width: float = WIDTH

    def log_density(self, space: FloatArray) -> FloatArray:
        """Return the log density, up to a constant, at every pair (alpha, beta) of a grid."""
        logs = np.log(space)
        mean, ratio = (logs[:, None] + logs[None, :]) / 2, logs[:, None] - logs[None, :]
        return -0.5 * ((mean - math.log(self.centre)) ** 2 + ratio**2) / self.width**2


@dataclass(frozen=True)
class Departure:
    """How runs may differ from the law, relative to loss. One set for all tables: see benchmarks/law_backtest.py."""

    size: float = 0.03  # standard deviation of the smooth departure
    reach: float = 2.5  # natural logs of params or tokens over which it is alike
    per_log_loss: float = 0.2  # noise added per unit of log loss above the best runs
    outlier: float = 1.5  # standard deviations beyond which a run is weighed down
    same_size: float = 0.004  # standard deviation of what runs of one size share besides
    starved: float = 0.03  # standard deviation added per square of the log of tokens per parameter that are missing

    def covariance(self, one: Runs, other: Runs, enough: float) -> FloatArray:
        """Return the covariance of departures; runs of fewer than `enough` tokens per parameter are starved."""
        apart_N = np.log(one.params)[:, None] - np.log(other.params)[None, :]
        apart_D = np.log(one.tokens)[:, None] - np.log(other.tokens)[None, :]
        alike = np.exp(-(apart_N**2 + apart_D**2) / (2 * self.reach**2))
        smooth = self.size**2 + np.outer(self._starvation(one, enough), self._starvation(other, enough))
        # not a limit on what is apart, which is no covariance: of three runs the middle one may be like both others
        shared = np.exp(-0.5 * (apart_N / _SAME_SIZE) ** 2)
        return np.asarray(smooth * alike + self.same_size**2 * shared)

    def variance(self, runs: Runs, enough: float) -> FloatArray:
        """Return the variance of each run's departure: the diagonal of `covariance`."""
        return self.size**2 + self._starvation(runs, enough) ** 2 + self.same_size**2

    def _starvation(self, runs: Runs, enough: float) -> FloatArray:
        missing = np.log(enough * runs.params / runs.tokens).clip(0)
        return np.asarray(self.starved * missing**2)

    def noise(self, runs: Runs) -> FloatArray:
        """Return each run's own variance."""
        num_best = max(1, min(3, len(runs) // 4))
        above = np.log(runs.loss / np.sort(runs.loss)[:num_best].mean()).clip(0)
        return NOISE**2 + (self.per_log_loss * above) ** 2


_SPACE = np.geomspace(0.05, 1.2, 33)  # exponents
_PRIOR_RUNS = 4.0  # how many runs the prior on the overall scale of errors is worth
_MAX_ROUNDS = 5
_LEAST_WEIGHT = 1e-4
_MAX_CORRECTION = 0.1


class Posterior:
    """The fit of one table. `num_outliers` runs were weighed down to less than half.

    Runs of fewer tokens per parameter than `enough` are starved: in a table of short runs alone they are what it is
    about, and the longest of them set the measure.
    `log_evidence` is the log likelihood of the rows over all exponents, up to a constant of their number.
    """

    def __init__(self, runs: Runs, prior: Prior, departure: Departure | None = None) -> None:
        self.runs, self._departure = runs, departure or Departure()
        self.enough = min(ENOUGH, float(np.quantile(runs.tokens / runs.params, _LONG_QUANTILE)))
        self._covariance = self._departure.covariance(runs, runs, self.enough)
        own_noise = self._departure.noise(runs)
        log_prior = prior.log_density(_SPACE)
        weights = np.ones(len(runs))
        for _ in range(_MAX_ROUNDS):
            self._solve(own_noise / weights, log_prior)
            expected = self._covariance @ self._pull
            off = np.abs(self._residual - expected) / np.sqrt(own_noise * self.scale)
            previous, weights = weights, np.minimum(1.0, self._departure.outlier / np.maximum(off, 1e-9))
            if np.abs(weights - previous).max() < 0.02:
                break
        self.num_outliers = int((weights < 0.5).sum())

    def _solve(self, noise: FloatArray, log_prior: FloatArray) -> None:
        runs = self.runs
        self._whitening = np.linalg.inv(np.linalg.cholesky(self._covariance + np.diag(noise)))
        self._grid = solve_grid(runs, _SPACE, _SPACE, self.whitening)
        # the overall scale of errors is unknown and integrated out, which leaves a power of the sum of squares
        log_density = log_prior - 0.5 * (len(runs) + _PRIOR_RUNS) * np.log(_PRIOR_RUNS + self._grid.squares)
        log_determinant, peak = float(np.log(np.diag(self._whitening)).sum()), float(log_density.max())
        density = np.exp(log_density - peak)
        self.log_evidence = peak + math.log(float(density.sum())) + log_determinant
        self._kept = np.argwhere(density > _LEAST_WEIGHT)
        weights = density[tuple(self._kept.T)]
        self._weights, self._best = weights / weights.sum(), tuple(self._kept[weights.argmax()])
        self.scale = float((_PRIOR_RUNS + self._grid.squares[self._best]) / (_PRIOR_RUNS + len(runs)))
        self._residual = 1 - self._law(*self._best).loss(runs.params, runs.tokens) / runs.loss
        self._pull = self._whitening.T @ (self._whitening @ self._residual)

    def _law(self, i: int, j: int) -> Law:
        """Return the law of a pair of exponents: its terms at the runs' mean sizes are the grid's."""
        alpha, beta = float(_SPACE[i]), float(_SPACE[j])
        E, A, B = self._grid.coefficients[i, j].tolist()
        scales = math.exp(alpha * centre(self.runs.params)), math.exp(beta * centre(self.runs.tokens))
        return Law(E, A * scales[0], B * scales[1], alpha, beta)

    @property
    def whitening(self) -> FloatArray:
        """The matrix that turns errors in loss into independent ones of unit variance."""
        return np.asarray(self._whitening / self.runs.loss[None, :])

    def laws(self) -> Iterator[tuple[Law, float]]:
        """Yield the law of every pair of exponents that is worth considering, with its weight."""
        for (i, j), weight in zip(self._kept, self._weights, strict=True):
            yield self._law(i, j), float(weight)

    def predict(self, params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the median loss at each target, and the variance of its logarithm without the noise of one run."""
        by_N = powers(params, centre(self.runs.params), _SPACE)
        by_D = powers(tokens, centre(self.runs.tokens), _SPACE)
        i, j = self._kept.T
        E, A, B = self._grid.coefficients[i, j].T
        logs_tk = np.log(E + A * by_N[:, i] + B * by_D[:, j])
        log_mean = logs_tk @ self._weights
        by_exponents = ((logs_tk - log_mean[:, None]) ** 2) @ self._weights
        correction, by_departure = self._departures(params, tokens)
        variance = by_exponents + self._by_coefficients(by_N, by_D, np.exp(log_mean)) + by_departure
        return np.exp(log_mean) * (1 + correction), variance

    def _departures(self, params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what the rows near each target say of its departure, and the variance that this leaves."""
        targets = Runs(params, tokens, np.ones_like(params))
        shared = self._departure.covariance(targets, self.runs, self.enough)
        known = shared @ self._whitening.T
        before = self._departure.variance(targets, self.enough)
        left = np.maximum(before - (known**2).sum(axis=1), 0.0) * self.scale
        return np.clip(shared @ self._pull, -_MAX_CORRECTION, _MAX_CORRECTION), left

    def _by_coefficients(self, by_N: FloatArray, by_D: FloatArray, loss: FloatArray) -> FloatArray:
        """Return the variance of log loss from E, A and B at the best exponents; a coefficient at zero is known."""
        i, j = self._best
        active = self._grid.coefficients[i, j] > 0
        gradient = np.stack([np.ones(len(loss)), by_N[:, i], by_D[:, j]], axis=1)[:, active] / loss[:, None]
        spread = np.linalg.pinv(self._grid.gram[i, j][np.ix_(active, active)]) * self.scale
        return np.asarray(np.einsum("ti,ij,tj->t", gradient, spread, gradient))
