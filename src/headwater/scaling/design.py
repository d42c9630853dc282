"""Which small runs tell most about a large one, for the time they take.

A forecast weighs rows by the law's own uncertainty, a smooth departure from the law and the noise of a run
(posterior.py). Before a run is made its loss is unknown, but how much it would narrow the forecast isn't: near one law
the variance of a linear model depends on sizes alone. So the runs are chosen that leave the least variance of the log
loss at the target within the seconds at hand: greedily, then by exchanges, as in the design of experiments (Fedorov
1972).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from headwater.errors import ConfigError
from headwater.scaling.backtest import MIN_SIZES
from headwater.scaling.posterior import ENOUGH, WIDTH, Departure, published_prior
from headwater.scaling.reach import reach_of
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, MIN_RUNS, FloatArray, Runs, num_distinct

# the run's compute over a rung's: nearer, one may as well train the run; further, a rung is another regime
LEAST_RATIO, MOST_RATIO = 4.0, 40.0
USUAL_STEPS = 4 * 60  # from which most runs have enough rungs
SLACK = 1.1  # forecast seconds differ by as much from call to call
NUM_BUDGETS = 16  # tried where a ladder doesn't fit
TOO_FAR = 1e6  # above every variance
# of the loss at the target, what parameters and tokens still leave in published laws at usual sizes: about a quarter
# each; known to a factor of two
TERM_SHARE, TERM_LOG_DEVIATION = 0.25, 0.7


class SmallRun(Protocol):
    """What a design needs to know of a run: its sizes, what it takes, and whether its model is the target's own."""

    @property
    def name(self) -> str: ...
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


R = TypeVar("R", bound=SmallRun)


@dataclass(frozen=True)
class Worth(Generic[R]):
    """What one more run would bring: the relative standard deviation of the forecast without it and with it."""

    rung: R
    deviation_now: float
    deviation_then: float


def design(candidates: Sequence[R], target: R, budget_seconds: float, num_rungs: int = MIN_RUNS) -> list[R]:
    """Return the rungs that leave the forecast of `target` the narrowest, smallest compute first.

    Raises ConfigError when `num_rungs` of them don't fit into the budget.
    """
    if num_rungs < MIN_RUNS:
        raise ConfigError(f"a ladder of {num_rungs} runs can't carry a law; give --rungs {MIN_RUNS} or more")
    allowed = _near(candidates, target)
    chosen = _best_within(budget_seconds, allowed, target, num_rungs)
    if chosen is None:
        raise ConfigError(_too_little(allowed, num_rungs, budget_seconds, target))
    return sorted(chosen, key=lambda rung: rung.flops)


def _best_within(budget_seconds: float, allowed: list[R], target: R, num_rungs: int) -> list[R] | None:
    """Return the rungs of the least variance within a time, None where none that carry a law fit into it."""
    least = _least_seconds(allowed, num_rungs)
    if budget_seconds < least <= SLACK * budget_seconds:
        budget_seconds = least
    affordable = [rung for rung in allowed if rung.seconds <= budget_seconds]
    if len(affordable) < num_rungs or least > budget_seconds:
        return None
    problem = _Problem(affordable, target, budget_seconds)
    chosen = problem.solve(num_rungs)
    return None if problem.worth(chosen, num_rungs) > TOO_FAR else [affordable[place] for place in chosen]


def _least_seconds(allowed: list[R], num_rungs: int) -> float:
    return sum(sorted(rung.seconds for rung in allowed)[:num_rungs])


def worth_of_another(done: Sequence[R], candidates: Sequence[R], target: R, most_seconds: float) -> Worth[R]:
    """Return the run of at most `most_seconds` that would narrow the forecast most; raise ConfigError without any."""
    known = {rung.name for rung in done}
    others = [rung for rung in _near(candidates, target) if rung.seconds <= most_seconds and rung.name not in known]
    if not others:
        raise ConfigError(f"no run of {most_seconds:.0f} s or less could be added")
    information = _Information([*done, *others], target)
    now = list(range(len(done)))
    variances = [information.variance([*now, len(done) + place]) for place in range(len(others))]
    best = int(np.argmin(variances))
    return Worth(others[best], math.sqrt(information.variance(now)), math.sqrt(variances[best]))


def _near(candidates: Sequence[R], target: R) -> list[R]:
    return [rung for rung in candidates if LEAST_RATIO <= target.flops / rung.flops <= MOST_RATIO]


def _too_little(allowed: list[R], num_rungs: int, budget_seconds: float, target: R) -> str:
    """Say what would do instead of so few seconds: more of them, or another run."""
    if len(allowed) < num_rungs:
        found = f"only {len(allowed)} are" if allowed else "none is"
        return (
            f"the run is too short for a ladder of {num_rungs} smaller runs: each needs 1/{MOST_RATIO:g} to "
            f"1/{LEAST_RATIO:g} of its compute and enough steps to learn from, and {found} possible; raise "
            f"train.num_steps, to {USUAL_STEPS} say"
        )
    least, most = _least_seconds(allowed, num_rungs), sum(rung.seconds for rung in allowed)
    budgets = np.geomspace(max(least, budget_seconds), max(most, budget_seconds), NUM_BUDGETS).tolist()
    enough = next((budget for budget in budgets if _best_within(budget, allowed, target, num_rungs)), None)
    if enough is None:
        return (
            f"no ladder of {num_rungs} runs of this run has {MIN_SIZES} sizes of model and as many lengths: plan a "
            "larger model or a longer run"
        )
    return (
        f"a ladder of {num_rungs} runs takes {enough:.0f} s at least and {budget_seconds:.0f} s are given: --share "
        f"{math.ceil(100 * enough / target.seconds) / 100:g} at least, or --minutes {math.ceil(enough / 6) / 10:g}"
    )


class _Information:
    """Covariances of log loss between candidates and the target, from sizes alone."""

    def __init__(self, rungs: Sequence[SmallRun], target: SmallRun) -> None:
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

    def variance(self, chosen: Sequence[int]) -> float:
        """Return the variance of the target's log loss that these rungs leave; infinite for too few sizes."""
        places = np.array(chosen)
        if min(num_distinct(self._params[places]), num_distinct(self._tokens[places])) < min(MIN_SIZES, len(places)):
            return math.inf
        among = self._covariance[np.ix_(places, places)] + np.diag(self._noise[places])
        shared = self._covariance[places, -1]
        return float(self._covariance[-1, -1] - shared @ np.linalg.solve(among, shared))


def _law_near(params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log loss's gradient over (E, A, B, alpha, beta), in units of their prior deviations, and the loss.

    The law is relative to the target, which comes last: its loss is one.
    """
    exponent = published_prior().centre
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


class _Problem:
    """Choosing from candidates within the seconds at hand. The first rung has the run's own shape where one fits.

    That one says how long the run's step takes here, which no other shape does as well.
    """

    def __init__(self, candidates: Sequence[SmallRun], target: SmallRun, budget_seconds: float) -> None:
        self.information = _Information(candidates, target)
        self._seconds = np.array([rung.seconds for rung in candidates])
        self._budget = budget_seconds
        self._logs = np.log10([FLOPS_PER_PARAM_TOKEN * rung.params * rung.tokens for rung in candidates])
        self._target_log = math.log10(FLOPS_PER_PARAM_TOKEN * target.params * target.tokens)
        self._own = [place for place, rung in enumerate(candidates) if rung.shape == target.shape]

    def worth(self, chosen: list[int], num_rungs: int) -> float:
        """Return the variance that is left; of a whole ladder too far below the target to carry a loss, more than any.

        That is the larger the further it is, so that exchanges lead out of it.
        """
        variance = self.information.variance(chosen)
        if len(chosen) < num_rungs or math.isinf(variance):
            return variance
        beyond = self._target_log - reach_of(self._logs[chosen])
        return variance if beyond <= 0 else TOO_FAR + beyond

    def solve(self, num_rungs: int) -> list[int]:
        """Return the best found from every first rung that may be one."""
        fits = self._fitting([], num_rungs - 1)
        firsts = [place for place in fits if place in self._own]
        starts = [[place] for place in firsts] or [[]]
        found = [self._exchange(self._filled(start, num_rungs), len(start)) for start in starts]
        return min(found, key=lambda chosen: self.worth(chosen, num_rungs))

    def _filled(self, chosen: list[int], num_rungs: int) -> list[int]:
        """Add rung after rung, each the best that leaves enough seconds for the cheapest others."""
        while len(chosen) < num_rungs:
            options = self._fitting(chosen, num_rungs - len(chosen) - 1)
            variances = [self.worth([*chosen, place], num_rungs) for place in options]
            chosen = [*chosen, options[int(np.argmin(variances))]]
        return chosen

    def _fitting(self, chosen: list[int], num_others: int) -> list[int]:
        left = self._budget - self._seconds[chosen].sum() + 1e-9
        options = [place for place in range(len(self._seconds)) if place not in chosen]
        fits = []
        for place in options:
            others = np.sort([self._seconds[other] for other in options if other != place])[:num_others]
            if self._seconds[place] + others.sum() <= left:
                fits.append(place)
        return fits

    def _exchange(self, chosen: list[int], num_kept: int) -> list[int]:
        """Swap rungs after the first `num_kept` for others as long as that narrows the forecast within the budget."""
        num_rungs = len(chosen)
        best = self.worth(chosen, num_rungs)
        improved = True
        while improved:
            improved = False
            for position in range(num_kept, len(chosen)):
                for place in range(len(self._seconds)):
                    changed = [*chosen[:position], place, *chosen[position + 1 :]]
                    if place in chosen or self._seconds[changed].sum() > self._budget:
                        continue
                    variance = self.worth(changed, num_rungs)
                    if variance < best * (1 - 1e-6):
                        chosen, best, improved = changed, variance, True
        return chosen
