"""The profile likelihood of each exponent: how much worse the best fit becomes when it is held at another value.

A flat profile is how an exponent that the rows can't tell is made visible; a point estimate hides it. No prior is in
it. Errors are whitened by the posterior's covariance, so that runs which depart together don't count as separate
evidence. That is another model than the law of the least Huber loss, which takes every run for itself: its exponents
may lie outside these intervals, and then the rows don't say which to believe. A table without noise has a profile a
millionth wide, so values are added around its top until they show it.

m values of one exponent, each with all else at its best
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.scaling.arrays import Z_P90, Z_P95, FloatArray
from headwater.scaling.fit import GREATEST_EXPONENT, LEAST_EXPONENT, Law
from headwater.scaling.grid import exponents, solve_grid, squares_of_pairs
from headwater.scaling.posterior import NOISE, Posterior
from headwater.scaling.table import Runs

DROP_80, DROP_90 = (z**2 / 2 for z in (Z_P90, Z_P95))  # of the log likelihood at the ends of such intervals
LEAST_ERROR = 1e-6  # of a loss, relative: a table holds no more digits that mean something
_SPACE = exponents(low=LEAST_EXPONENT, high=GREATEST_EXPONENT, count=97)
_MOST_UNCERTAIN = 3.0  # high / low beyond which an exponent is called unidentified
_NUM_INSIDE = 9  # values within the interval, from which its shape shows
_NUM_ADDED = 33
_MOST_ROUNDS = 8  # each divides the step by 16
_SHRINK, _NUM_STEPS = 6.0, 9  # of the search for the other exponent: from 4 % to 4e-9


@dataclass(frozen=True)
class Profile:
    """log_likelihood is relative to the best, which is at `top`; low and high bound the 90 % interval around it.

    Without an end, low or high is that of the range. `of_law` is the exponent of the law that was fitted to the same
    runs by the least Huber loss.
    """

    exponents: FloatArray
    log_likelihood: FloatArray
    top: float
    low: float
    high: float
    is_bounded: bool
    of_law: float
    p10: float
    p90: float

    @property
    def quantiles(self) -> dict[str, float]:
        return {"p5": self.low, "p10": self.p10, "p90": self.p90, "p95": self.high}

    @property
    def holds_law(self) -> bool:
        """Return whether the law's exponent lies in the interval, as far as a table's digits tell."""
        return self.low * (1 - LEAST_ERROR) <= self.of_law <= self.high * (1 + LEAST_ERROR)

    @property
    def is_identified(self) -> bool:
        """Return whether both ways to see the runs together leave the exponent in a narrow range."""
        low, high = min(self.low, self.of_law), max(self.high, self.of_law)
        return self.is_bounded and high / low <= _MOST_UNCERTAIN


def profiles(posterior: Posterior, law: Law) -> tuple[Profile, Profile]:
    """Return the profiles of alpha and of beta; `law` is the fit of the same runs."""
    runs, whitening = posterior.runs, posterior.whitening
    turned = Runs(runs.tokens, runs.params, runs.loss)
    return _profile(_Heights(runs, whitening), law.alpha), _profile(_Heights(turned, whitening), law.beta)


class _Heights:
    """The log likelihood of values of the exponent of params, with E, A, B and the exponent of tokens at their best."""

    def __init__(self, runs: Runs, whitening: FloatArray) -> None:
        self._runs, self._whitening = runs, whitening
        self._rounding = len(runs) * (LEAST_ERROR / NOISE) ** 2  # errors are in units of the noise

    def __call__(self, values_m: FloatArray) -> FloatArray:
        return np.asarray(-0.5 * len(self._runs) * np.log(self._least_squares(values_m) + self._rounding))

    def _least_squares(self, values_m: FloatArray) -> FloatArray:
        """Return the least squares over the other exponent: on the grid first, then by parabolas ever narrower."""
        grid = solve_grid(self._runs, values_m, _SPACE, self._whitening)
        logs, step = np.log(_SPACE)[grid.squares.argmin(axis=1)], math.log(_SPACE[1] / _SPACE[0])
        ends = math.log(LEAST_EXPONENT), math.log(GREATEST_EXPONENT)
        least = np.full(len(values_m), np.inf)
        for _ in range(_NUM_STEPS):
            places = np.clip(np.stack([logs - step, logs, logs + step]), *ends)
            pairs = np.broadcast_to(values_m, places.shape).ravel(), np.exp(places).ravel()
            squares = squares_of_pairs(self._runs, *pairs, self._whitening).reshape(places.shape)
            least = np.minimum(least, squares.min(axis=0))
            logs, step = _lowest(places, squares), step / _SHRINK
        return least


def _lowest(places: FloatArray, squares: FloatArray) -> FloatArray:
    """Return where the parabola through three points (3, m) is lowest; the lowest of the three where it has no dip."""
    left, middle, right = squares
    bend = left - 2 * middle + right
    with np.errstate(divide="ignore", invalid="ignore"):
        dip = places[1] + (places[2] - places[0]) / 4 * (left - right) / bend
    inside = (bend > 0) & (places[0] < dip) & (dip < places[2])
    best = np.take_along_axis(places, squares.argmin(axis=0)[None, :], axis=0)[0]
    return np.where(inside, dip, best)


def _profile(heights_of: _Heights, of_law: float) -> Profile:
    space, heights = _SPACE, heights_of(_SPACE)
    for _ in range(_MOST_ROUNDS):
        top = int(heights.argmax())
        if (heights > heights[top] - DROP_90).sum() >= _NUM_INSIDE:
            break
        low, high = space[max(0, top - 1)], space[min(len(space) - 1, top + 1)]
        added = np.setdiff1d(exponents(low, high, _NUM_ADDED), space)
        order = np.argsort(np.concatenate([space, added]))
        heights = np.concatenate([heights, heights_of(added)])[order]
        space = np.concatenate([space, added])[order]
    relative = heights - heights.max()
    top = int(relative.argmax())
    ways = [(np.log(space[top::-1]), relative[top::-1]), (np.log(space[top:]), relative[top:])]
    (low, is_low_bounded), (high, is_high_bounded) = (_crossing(*way, DROP_90) for way in ways)
    bounded = is_low_bounded and is_high_bounded
    p10, p90 = (math.exp(_crossing(*way, DROP_80)[0]) for way in ways)
    return Profile(space, relative, float(space[top]), math.exp(low), math.exp(high), bounded, of_law, p10, p90)


def _crossing(logs: FloatArray, heights: FloatArray, drop: float) -> tuple[float, bool]:
    """Return where the profile, walked from its top, first falls under the interval's height, and whether it does."""
    under = np.flatnonzero(heights < -drop)
    if not len(under):
        return float(logs[-1]), False
    after = int(under[0])
    share = (heights[after - 1] + drop) / (heights[after - 1] - heights[after])
    return float(logs[after - 1] + share * (logs[after] - logs[after - 1])), True
