"""Forecasts of loss with intervals that have been held against runs.

The interval joins what the rows leave open (exponents, coefficients, departures from the law), the noise of one run, and a
discrepancy that grows with the decades of compute beyond the largest run: no fit knows what its form leaves out. The
whole is then widened or narrowed by how the same forecaster does on the table itself, forecasting its larger runs
from its smaller ones, shrunk towards no change since a table holds few independent cuts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.plan.law.backtest import decades_beyond, origins
from headwater.plan.law.posterior import NOISE, Posterior
from headwater.plan.law.prior import Prior, published_prior
from headwater.plan.law.table import FLOPS_PER_PARAM_TOKEN, Runs

FloatArray = NDArray[np.float64]

NORMAL_95 = 1.6448536269514722
# chosen in benchmarks/law_backtest.py as the other constants are
FLOOR = 0.006
PER_DECADE = 0.015
PRIOR_CUTS = 4.0  # how many cuts of a table the assumption that nothing need be widened is worth
_MIN_FITTED_INSIDE = 6
_LARGEST_SQUARE = 25.0  # one cut that failed altogether doesn't decide alone


@dataclass(frozen=True)
class Forecast:
    """The loss that a run of this size will have: 90 of 100 such intervals should hold it."""

    params: float
    tokens: float
    p5: float
    p50: float
    p95: float


class Forecaster:
    """Forecasts from one table. `widening` is what its own back-test made of the standard deviations."""

    def __init__(self, runs: Runs, prior: Prior | None = None) -> None:
        self.runs, self.prior = runs, prior or published_prior()
        self.posterior = Posterior(runs, self.prior)
        self.widening, self.num_cuts = self._calibrated()

    def _calibrated(self) -> tuple[float, int]:
        squares = []
        for cut in origins(self.runs, _MIN_FITTED_INSIDE):
            median, deviation = spread(Posterior(cut.fitted, self.prior), cut.beyond.params, cut.beyond.tokens)
            off = np.log(cut.beyond.loss / median) / deviation
            squares.append(min(float(np.median(off**2)) / _MEDIAN_SQUARE, _LARGEST_SQUARE))
        return math.sqrt((PRIOR_CUTS + sum(squares)) / (PRIOR_CUTS + len(squares))), len(squares)

    def spread(self, params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the median loss of each target and the standard deviation of its logarithm."""
        median, deviation = spread(self.posterior, params, tokens)
        return median, deviation * self.widening

    def forecast(self, params: float, tokens: float) -> Forecast:
        medians, deviations = self.spread(np.array([params]), np.array([tokens]))
        median, factor = float(medians[0]), math.exp(NORMAL_95 * float(deviations[0]))
        return Forecast(params, tokens, median / factor, median, median * factor)


_MEDIAN_SQUARE = 0.4549364231195724  # of a standard normal variable


def spread(posterior: Posterior, params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the median loss of each target and the standard deviation of its logarithm, before any back-test."""
    median, variance = posterior.predict(params, tokens)
    decades = decades_beyond(posterior.runs, FLOPS_PER_PARAM_TOKEN * params * tokens)
    noise = max(NOISE, posterior.runs.run_noise or 0.0)
    return median, np.sqrt(variance + noise**2 + FLOOR**2 + (PER_DECADE * decades) ** 2)
