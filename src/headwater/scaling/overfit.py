"""The cost of repeated epochs: a penalty on the law of fresh text, as strong as the rows say.

A run of N parameters that reads U tokens 1 + R times is worse than one of as many fresh tokens, by a factor of
1 + p R^DELTA (N / U)^KAPPA: it memorises its text, the sooner the larger it is. The form is that of
arXiv:2605.01640, relative to the loss so that it holds in any unit; the exponents were measured here (docs/log.md). How
strong it is (p) depends on rates, weight decay and text, so that rows which read as often weigh it: those of the most
parameters for their text suffer most, and a p counts as much as the losses without its penalty follow a law.

p values of the penalty's strength · n runs fitted · t targets
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from headwater.scaling.arrays import FloatArray, on_one_thread
from headwater.scaling.forecast import Forecast, Forecaster
from headwater.scaling.posterior import Posterior
from headwater.scaling.prior import published_prior
from headwater.scaling.table import MIN_RUNS, Runs

DELTA, KAPPA = 1.2, 0.8
MIN_EPOCHS, MAX_EPOCHS_TRIED, NUM_EPOCHS_TRIED = 2.0, 8.0, 61
LOSS_PER_LOG_TOKENS = 0.11  # by which the loss of first-light's model falls, relative
LEAST_REPEATS = 0.05  # of R: less is nothing
_NUM_STRENGTHS, _REACH = 25, 3.0  # on the grid, and how many deviations it spans on either side
_LEAST_WEIGHT = 1e-3
NUM_LARGEST = 5  # rows that are dropped one by one


@dataclass(frozen=True)
class Strength:
    """The penalty's p: its median, and the standard deviation of its logarithm."""

    median: float
    log_deviation: float

    def log_cost(self, params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
        """Return by how much the log of the loss rises, of runs that read `tokens` of a text of `unique` ones."""
        return np.asarray(np.log1p(self.median * penalty(params, tokens, unique)))

    def best_epochs(self, params: float, unique: float) -> float:
        """Return the best epochs of a text of `unique` tokens, from 2 to 8: where more bring what they cost."""
        epochs = np.linspace(MIN_EPOCHS, MAX_EPOCHS_TRIED, NUM_EPOCHS_TRIED)
        cost = self.log_cost(np.array(float(params)), epochs * unique, unique)
        return float(epochs[np.argmin(cost - LOSS_PER_LOG_TOKENS * np.log(epochs))])

    def deviation(self, params: float, tokens: float, unique: float) -> float:
        """Return the standard deviation of that rise which the strength leaves."""
        cost = self.median * float(penalty(np.array(params), np.array(tokens), unique))
        return self.log_deviation * cost / (1 + cost)


OWN, PUBLISHED = Strength(0.012, 0.45), Strength(0.0045, 0.5)
"Of headwater's own small runs with Muon (docs/log.md), and of those of arXiv:2305.16264 up to 14 epochs."
MEASURED_RATIO, MEASURED_EPOCHS = 0.7, 14.0
"Parameters a unique token, and epochs, up to which the published strength was measured."
USUAL = Strength(0.009, 0.7)
"Of rows of which nothing else is known: both lie within it."


def penalty(params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
    """Return R^DELTA (N / U)^KAPPA, which the strength multiplies; 0 where the text is not read to its end."""
    read = np.minimum(tokens, unique)
    repeats = np.maximum(tokens / read - 1, 0.0)
    return np.asarray(repeats**DELTA * (params / read) ** KAPPA)


def _is_repeated(runs: Runs) -> bool:
    return runs.unique is not None and bool((runs.tokens / runs.unique - 1 > LEAST_REPEATS).any())


@dataclass(frozen=True)
class _Weighed:
    """One strength, its weight, and the forecaster of what losses would have been on fresh text."""

    strength: float
    weight: float
    forecaster: Forecaster


@dataclass(frozen=True)
class OneRow:
    """A row of the table, and the median that all other rows forecast."""

    params: float
    tokens: float
    median_without: float


class RepeatedForecaster:
    """Forecasts from rows of which some, or all, read their text more than once.

    `known` is what is known of the penalty's strength before the rows.
    """

    def __init__(self, runs: Runs, known: Strength = USUAL) -> None:
        self.runs, self._known = runs, known
        with on_one_thread():
            self._weighed = self._weigh()
        self._weights = np.array([each.weight for each in self._weighed])

    def _weigh(self) -> list[_Weighed]:
        deviations = np.linspace(-_REACH, _REACH, _NUM_STRENGTHS)
        strengths = (self._known.median * np.exp(self._known.log_deviation * deviations)).tolist()
        logs = -(deviations**2) / 2
        if not _is_repeated(self.runs):  # the rows say nothing of it
            corrected = [replace(self.runs, unique=None)] * len(strengths)
        else:
            corrected = [self._without_penalty(strength) for strength in strengths]
            logs += np.array([Posterior(fresh, published_prior()).log_evidence for fresh in corrected])
        weights = np.exp(logs - logs.max())
        kept = [place for place, weight in enumerate(weights) if weight > _LEAST_WEIGHT]
        total = float(weights[kept].sum())
        different = {id(corrected[place]): corrected[place] for place in kept}
        made = {key: Forecaster(runs) for key, runs in different.items()}
        return [_Weighed(strengths[at], float(weights[at]) / total, made[id(corrected[at])]) for at in kept]

    def _without_penalty(self, strength: float) -> Runs:
        """Return the rows as they would have been on fresh text, were the penalty so strong."""
        runs = self.runs
        assert runs.unique is not None
        factor = 1 + strength * penalty(runs.params, runs.tokens, runs.unique)
        return replace(runs, loss=runs.loss / factor, unique=None)

    @property
    def strength(self) -> Strength:
        """The penalty's strength, as the rows and what is known besides leave it."""
        logs = np.log([each.strength for each in self._weighed])
        mean = float(self._weights @ logs)
        return Strength(math.exp(mean), math.sqrt(float(self._weights @ (logs - mean) ** 2)))

    @property
    def likeliest(self) -> Forecaster:
        """The forecaster of fresh text by the likeliest strength."""
        return self._likeliest.forecaster

    @property
    def likeliest_strength(self) -> float:
        """The strength whose penalty was divided out of the rows of `likeliest`."""
        return self._likeliest.strength

    @property
    def _likeliest(self) -> _Weighed:
        return max(self._weighed, key=lambda each: each.weight)

    def spread(
        self, params: FloatArray, tokens: FloatArray, unique: FloatArray | float = math.inf
    ) -> tuple[FloatArray, FloatArray]:
        """Return the median loss of each target and the standard deviation of its logarithm.

        Targets read `tokens` of a text of `unique` ones.
        """
        of_targets, logs, variances = penalty(params, tokens, unique), [], []
        fresh = {id(each.forecaster): each.forecaster for each in self._weighed}
        spreads = {key: forecaster.spread(params, tokens) for key, forecaster in fresh.items()}
        for each in self._weighed:
            medians, deviations = spreads[id(each.forecaster)]
            logs.append(np.log(medians) + np.log1p(each.strength * of_targets))
            variances.append(deviations**2)
        mean = self._weights @ np.stack(logs)
        return np.exp(mean), np.sqrt(self._weights @ (np.stack(variances) + (np.stack(logs) - mean) ** 2))

    def forecast(self, params: float, tokens: float, unique: float = math.inf, regret: float = 0.0) -> Forecast:
        """Return the forecast of one run; `regret` is what its learning rate and batch cost, known to a third."""
        with on_one_thread():
            medians, deviations = self.spread(np.array([params]), np.array([tokens]), unique)
        median = float(medians[0]) * (1 + regret)
        return Forecast(params, tokens, median, math.hypot(float(deviations[0]), regret / 3))

    def without_each_of_the_largest(self, params: float, tokens: float, unique: float = math.inf) -> list[OneRow]:
        """Return the median without each of the rows of the most compute, for the run that `forecast` is of."""
        likeliest = self._likeliest
        runs, rise = likeliest.forecaster.runs, likeliest.strength * penalty(np.array(params), np.array(tokens), unique)
        found = []
        with on_one_thread():
            for row in np.argsort(-runs.flops, kind="stable")[: min(NUM_LARGEST, len(runs) - MIN_RUNS)]:
                rest = Posterior(runs.where(np.arange(len(runs)) != row), published_prior())
                median = float(rest.predict(np.array([params]), np.array([tokens]))[0][0]) * (1 + float(rise))
                found.append(OneRow(float(runs.params[row]), float(runs.tokens[row]), median))
        return found
