"""Forecasts of loss with intervals that have been held against runs.

The interval joins what the rows leave open (exponents, coefficients, departures from the law), the noise of one run,
and a discrepancy that grows with the decades of compute beyond the largest run: no fit knows what its form leaves
out. The whole is then widened or narrowed by how the same forecaster does on the table itself, forecasting its larger
runs from its smaller ones, shrunk towards no change since a table holds few independent cuts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.scaling.arrays import Z_P90, Z_P95, FloatArray, on_one_thread
from headwater.scaling.backtest import decades_beyond, origins
from headwater.scaling.posterior import NOISE, Departure, Posterior
from headwater.scaling.prior import Prior, published_prior
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, Runs

PRIOR_CUTS = 4.0  # how many cuts of a table the assumption that nothing need be widened is worth
_MIN_FITTED_INSIDE = 6
_MEDIAN_SQUARE = 0.4549364231195724  # of a standard normal variable
_LARGEST_SQUARE = 25.0  # one cut that failed altogether doesn't decide alone


@dataclass(frozen=True)
class Discrepancy:
    """What no fit knows of itself, relative to loss. One set for all tables: see benchmarks/law_backtest.py."""

    share: float = 0.7  # of the posterior's own deviation, which is made for the worst of tables
    per_decade: float = 0.005

    def deviation(self, variance: FloatArray, decades: FloatArray, run_noise: float | None) -> FloatArray:
        """Return the standard deviation of log loss, given the posterior's variance."""
        noise = max(NOISE, run_noise or 0.0)
        known = self.share**2 * variance + noise**2
        return np.asarray(np.sqrt(known + (self.per_decade * decades) ** 2))


@dataclass(frozen=True)
class Forecast:
    """The loss that a run of this size will have, log-normal about its median."""

    params: float
    tokens: float
    p50: float
    log_deviation: float

    @property
    def quantiles(self) -> dict[str, float]:
        """Return p5 and p95, which 90 of 100 runs should lie between, p10 and p90, and the median."""
        steps = {"p5": -Z_P95, "p10": -Z_P90, "p50": 0.0, "p90": Z_P90, "p95": Z_P95}
        return {name: self.p50 * math.exp(step * self.log_deviation) for name, step in steps.items()}


@dataclass(frozen=True)
class PastCut:
    """One cut of the table itself: errors of log loss, the posterior's variances and the decades beyond."""

    errors: FloatArray
    variances: FloatArray
    decades: FloatArray


class Forecaster:
    """Forecasts from one table: the posterior of its rows, and its own back-test in `past`."""

    def __init__(
        self,
        runs: Runs,
        prior: Prior | None = None,
        departure: Departure | None = None,
        discrepancy: Discrepancy | None = None,
    ) -> None:
        self.runs, self._prior, self._departure = runs, prior or published_prior(), departure
        self._discrepancy = discrepancy or Discrepancy()
        with on_one_thread():
            self.posterior = Posterior(runs, self._prior, departure)
            cuts = origins(runs, _MIN_FITTED_INSIDE)
            self.past = [self._past_cut(cut.fitted, cut.beyond, cut.decades) for cut in cuts]
        self.widening = self.widening_by(self._discrepancy)

    def _past_cut(self, fitted: Runs, beyond: Runs, decades: FloatArray) -> PastCut:
        medians, variances = Posterior(fitted, self._prior, self._departure).predict(beyond.params, beyond.tokens)
        return PastCut(np.log(beyond.loss / medians), variances, decades)

    def widening_by(self, discrepancy: Discrepancy) -> float:
        """Return the factor on standard deviations that makes the median error of past cuts as large as it was.

        A median over each cut, since one odd run says nothing of the rest; each cut counts as one fact.
        """
        squares = []
        for cut in self.past:
            off = cut.errors / discrepancy.deviation(cut.variances, cut.decades, self.runs.run_noise)
            squares.append(min(float(np.median(off**2)) / _MEDIAN_SQUARE, _LARGEST_SQUARE))
        return math.sqrt((PRIOR_CUTS + sum(squares)) / (PRIOR_CUTS + len(squares)))

    def spread(self, params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the median loss of each target and the standard deviation of its logarithm."""
        median, variance = self.posterior.predict(params, tokens)
        decades = decades_beyond(self.runs, FLOPS_PER_PARAM_TOKEN * params * tokens)
        return median, self.widening * self._discrepancy.deviation(variance, decades, self.runs.run_noise)

    def forecast(self, params: float, tokens: float, regret: float = 0.0) -> Forecast:
        """Return the forecast of a run; `regret` is what its learning rate and batch cost, itself known to a third.

        Its text is read once: see `overfit.RepeatedForecaster`, and `tuning.regret`.
        """
        with on_one_thread():
            medians, deviations = self.spread(np.array([params]), np.array([tokens]))
        median = float(medians[0]) * (1 + regret)
        return Forecast(params, tokens, median, math.hypot(float(deviations[0]), regret / 3))
