"""Which small runs tell most about a large one, for the time they take.

A forecast weighs rows by the law's own uncertainty, a smooth departure from the law and the noise of a run
(posterior.py). Before a run is made its loss is unknown, but how much it would narrow the forecast isn't: near one law
the variance of a linear model depends on sizes alone. So the runs are chosen that leave the least variance of the log
loss at the target within the seconds at hand, one after another. Exchanges afterwards (Fedorov 1972) were no nearer
beyond their noise; on published runs a random choice of the same cost is 1.3 % off in the median where this is 1.2, and
its root mean square is half as large again (docs/log.md, 2026-11-28).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from headwater.scaling.backtest import MIN_SIZES
from headwater.scaling.checks import reach_of
from headwater.scaling.posterior import ENOUGH, WIDTH, Departure, Prior
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, MIN_RUNS, FloatArray, Runs, num_distinct

# the run's compute over a rung's: nearer, one may as well train the run; further, a rung is another regime
LEAST_RATIO, MOST_RATIO = 4.0, 40.0
# of the loss at the target, what parameters and tokens still leave in published laws at usual sizes: about a quarter
# each; known to a factor of two
TERM_SHARE, TERM_LOG_DEVIATION = 0.25, 0.7


class Sized(Protocol):
    """What a design needs to know of a run: its sizes, what it takes, and whether its model is the target's own."""

    @property
    def shape(self) -> Hashable: ...
    @property
    def params(self) -> float: ...
    @property
    def tokens(self) -> float: ...
    @property
    def flops(self) -> float: ...
    @property
    def seconds(self) -> float: ...


R = TypeVar("R", bound=Sized)


def usable(candidates: Sequence[R], target: R) -> list[R]:
    """Return the runs that are neither too near the target's compute nor too far below it."""
    return [rung for rung in candidates if LEAST_RATIO <= target.flops / rung.flops <= MOST_RATIO]


def design(candidates: Sequence[R], target: R, budget_seconds: float) -> list[R] | None:
    """Return the MIN_RUNS rungs that leave the forecast of `target` the narrowest, smallest compute first.

    None where none that carry a law fit into the budget. One of them has the target's own shape where that fits: it
    says how long the run's step takes here, which no other shape does as well.
    """
    affordable = [rung for rung in usable(candidates, target) if rung.seconds <= budget_seconds]
    if len(affordable) < MIN_RUNS or sum(sorted(rung.seconds for rung in affordable)[:MIN_RUNS]) > budget_seconds:
        return None
    choice = _Choice(affordable, target, budget_seconds)
    own = [place for place in choice.fitting([], MIN_RUNS - 1) if affordable[place].shape == target.shape]
    best = min(map(choice.filled, [[place] for place in own] or [[]]), key=choice.variance)
    if choice.variance(best) == math.inf:
        return None
    return sorted((affordable[place] for place in best), key=lambda rung: rung.flops)


class _Choice:
    """Choosing from runs within the seconds at hand, by covariances of log loss that follow from sizes alone."""

    def __init__(self, rungs: Sequence[Sized], target: Sized, budget_seconds: float) -> None:
        everyone = [*rungs, target]
        self._params = np.array([rung.params for rung in everyone])
        self._tokens = np.array([rung.tokens for rung in everyone])
        gradient, loss = _law_near(self._params, self._tokens)
        runs, departure = Runs(self._params, self._tokens, loss), Departure()
        enough = min(ENOUGH, target.tokens / target.params)
        self._covariance = gradient @ gradient.T + departure.covariance(runs, runs, enough)
        # as the forecaster: noise grows above the loss that is wanted, here the target's
        above = np.log(loss / loss[-1]).clip(0)
        own = departure.noise(Runs(self._params[-1:], self._tokens[-1:], loss[-1:]))[0]
        self._noise = own + (departure.per_log_loss * above) ** 2
        self._seconds, self._budget = np.array([rung.seconds for rung in rungs]), budget_seconds
        self._logs = np.log10(FLOPS_PER_PARAM_TOKEN * self._params * self._tokens)

    def variance(self, chosen: Sequence[int]) -> float:
        """Return the variance of the target's log loss that these rungs leave.

        Infinite for too few sizes, and for a whole ladder too far below the target to carry a loss.
        """
        places = np.array(chosen)
        if min(num_distinct(self._params[places]), num_distinct(self._tokens[places])) < min(MIN_SIZES, len(places)):
            return math.inf
        if len(chosen) == MIN_RUNS and self._logs[-1] > reach_of(self._logs[places]):
            return math.inf
        among = self._covariance[np.ix_(places, places)] + np.diag(self._noise[places])
        shared = self._covariance[places, -1]
        return float(self._covariance[-1, -1] - shared @ np.linalg.solve(among, shared))

    def filled(self, chosen: list[int]) -> list[int]:
        """Add rung after rung, each the best that leaves enough seconds for the cheapest others."""
        while len(chosen) < MIN_RUNS:
            options = self.fitting(chosen, MIN_RUNS - len(chosen) - 1)
            chosen = [*chosen, min(options, key=lambda place: self.variance([*chosen, place]))]
        return chosen

    def fitting(self, chosen: list[int], num_others: int) -> list[int]:
        """Return the rungs beside which the cheapest others still fit into the budget."""
        left = self._budget * (1 + 1e-9) - self._seconds[chosen].sum()
        options = [place for place in np.argsort(self._seconds, kind="stable").tolist() if place not in chosen]
        cheapest = options[: num_others + 1]  # one of these doesn't count as its own company

        def least(place: int) -> float:
            others = [other for other in cheapest if other != place][:num_others]
            return float(self._seconds[[place, *others]].sum())

        return [place for place in options if least(place) <= left]


def _law_near(params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log loss's gradient over (E, A, B, alpha, beta), in units of their prior deviations, and the loss.

    The law is relative to the target, which comes last: its loss is one.
    """
    exponent = Prior().centre
    n, d = np.log(params / params[-1]), np.log(tokens / tokens[-1])
    by_N, by_D = TERM_SHARE * np.exp(-exponent * n), TERM_SHARE * np.exp(-exponent * d)
    floor = 1 - 2 * TERM_SHARE
    loss = floor + by_N + by_D
    slopes = [
        floor * TERM_LOG_DEVIATION * np.ones_like(loss),
        by_N * TERM_LOG_DEVIATION,
        by_D * TERM_LOG_DEVIATION,
        by_N * -n * exponent * WIDTH,
        by_D * -d * exponent * WIDTH,
    ]
    return np.stack(slopes, axis=1) / loss[:, None], loss
