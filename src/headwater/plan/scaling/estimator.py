"""A scaling law as an estimator: fit a table of runs, predict others with intervals, ask for the best size.

    law = ScalingLaw.fit(params, tokens, loss)
    law.predict([7e9], [1.4e11], level=0.8)
    law.warnings(7e9, 1.4e11)
    law.optimum(flops=1e21)

What the rows can't carry is refused by a DataError, by one rule for every caller (checks.py).

The median is that of `Posterior`; `law.curve` is the law as the literature fits it, the baseline. The interval joins
what the rows leave open, the noise of one run, what no fit knows of its own form (it grows with the decades beyond the
largest run), and a jackknife: P10 to P90 hold the median without any one of the largest rows. The first three are
widened or narrowed by how the same fit forecasts the table's own larger runs from its smaller ones. Beside a warning
the interval is twice as wide.

Rows that repeat their text say how strong `penalty` is: p counts as much as the losses without it
follow a law, and forecasts are averaged over p.

n runs fitted · t targets · s strengths of the penalty
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from headwater.core.errors import DataError
from headwater.core.intervals import LEVEL, Z_P90, deviations_of
from headwater.plan.scaling import checks
from headwater.plan.scaling.law import NOISE, Departure, Law, Posterior, Prior, fit_law
from headwater.plan.scaling.table import (
    FLOPS_PER_PARAM_TOKEN,
    MIN_RUNS,
    USUAL,
    FloatArray,
    Runs,
    Strength,
    decades_beyond,
    past_cuts,
    penalty,
)

NUM_LARGEST = 5  # rows that are dropped one by one
PRIOR_CUTS = 4.0  # how many cuts of a table the assumption that nothing need be widened is worth
WARNED_WIDENING = 2.0  # of the interval beside a warning: see benchmarks/law_backtest.py
LEAST_REPEATS = 0.05  # of R: less is nothing
_STRENGTHS = np.linspace(-3, 3, 13)  # deviations from the median that is known besides
_LEAST_WEIGHT = 1e-3
_MEDIAN_SQUARE = deviations_of(0.5) ** 2  # of a standard normal variable
_LARGEST_SQUARE = 25.0  # one cut that failed altogether doesn't decide alone


@dataclass(frozen=True)
class Discrepancy:
    """What no fit knows of itself, relative to loss. One set for all tables: see benchmarks/law_backtest.py."""

    share: float = 0.7  # of the posterior's own deviation, which is made for the worst of tables
    per_decade: float = 0.005

    def deviation(self, variance: FloatArray, decades: FloatArray, run_noise: float | None) -> FloatArray:
        """Return the standard deviation of log loss, given the posterior's variance."""
        noise = max(NOISE, run_noise or 0.0)
        return np.asarray(np.sqrt(self.share**2 * variance + noise**2 + (self.per_decade * decades) ** 2))


@dataclass(frozen=True)
class Prediction:
    """Losses of the targets, log-normal about their medians (t,); `low` to `high` hold the share `level`."""

    median: FloatArray
    log_deviation: FloatArray
    level: float = LEVEL

    @property
    def low(self) -> FloatArray:
        return self.median**2 / self.high

    @property
    def high(self) -> FloatArray:
        return self.median * np.exp(deviations_of(self.level) * self.log_deviation)


class ScalingLaw:
    """The fit of one table; make one with `fit`, or of a table that was read.

    `known` is what is known of repetition's cost before the rows. `widening` multiplies deviations.
    """

    def __init__(
        self,
        runs: Runs,
        known: Strength = USUAL,
        *,
        discrepancy: Discrepancy | None = None,
        prior: Prior | None = None,
        departure: Departure | None = None,
    ) -> None:
        self.table, self.discrepancy = runs, discrepancy or Discrepancy()
        self._prior, self._departure = prior or Prior(), departure
        self._weigh(known)
        likeliest = int(self._weights.argmax())
        self.posterior, self.likeliest_strength = self._posteriors[likeliest], float(self._strengths[likeliest])
        self.runs = self.posterior.runs
        self.past = past_cuts(self.runs)
        "The table's larger runs beside its smaller ones."
        self.widening = self.widening_by(self.discrepancy)

    @classmethod
    def fit(
        cls, params: ArrayLike, tokens: ArrayLike, loss: ArrayLike, *, unique_tokens: ArrayLike | None = None
    ) -> ScalingLaw:
        """Return the law of finished runs (n,), whose loss may have any unit.

        `tokens` counts repeats, `unique_tokens` doesn't; without it every run read its text once. Raises DataError for
        values that aren't above zero and finite, arrays of different lengths, or fewer than MIN_RUNS runs.
        """
        given = (params, tokens, loss, math.inf if unique_tokens is None else unique_tokens)
        try:
            flat = [np.ravel(each) for each in given]
        except ValueError as error:  # rows of several lengths
            raise DataError(f"these are no columns of numbers: {error}") from None
        N, D, losses, unique = _columns(*flat)
        if len(N) < MIN_RUNS:
            raise DataError(f"{len(N)} runs can't carry a law of five unknowns; it needs {MIN_RUNS}: add runs")
        return cls(Runs(N, D, losses, unique=None if unique_tokens is None else np.minimum(unique, D)))

    def widening_by(self, discrepancy: Discrepancy) -> float:
        """Return the factor on standard deviations that makes the median error of past cuts as large as it was.

        A median over each cut, since one odd run says nothing of the rest; each cut counts as one fact, and PRIOR_CUTS
        say that nothing need be widened.
        """
        squares = []
        for cut, (medians, variances) in zip(self.past, self._of_past, strict=True):
            deviations = discrepancy.deviation(variances, cut.decades, self.runs.run_noise)
            off = np.log(cut.beyond.loss / medians) / deviations
            squares.append(min(float(np.median(off**2)) / _MEDIAN_SQUARE, _LARGEST_SQUARE))
        return math.sqrt((PRIOR_CUTS + sum(squares)) / (PRIOR_CUTS + len(squares)))

    @cached_property
    def curve(self) -> Law:
        """The law of the least Huber loss, without the cost of repetition: what a plain fit says.

        It has E, A, B, alpha and beta, and `loss(params, tokens)` takes arrays. It is the baseline, not the median of
        `predict`: that averages over the exponents which the runs leave open, and follows nearby runs.
        """
        return fit_law(self.runs)

    def predict(
        self, params: ArrayLike, tokens: ArrayLike, level: float = LEVEL, *, unique_tokens: ArrayLike = math.inf
    ) -> Prediction:
        """Return the losses of runs of these sizes (t,), and the interval that holds the share `level` of them.

        Targets that `warnings` warns of get an interval WARNED_WIDENING times as wide. Raises DataError for a level
        outside (0, 1), for sizes that aren't finite and above zero, and where the rows can't carry a forecast of one of
        the targets.
        """
        if not _is_between(0, level, 1):
            raise DataError(f"level {level!r:.40}: give the share that an interval holds, between 0 and 1, like 0.8")
        N, D, unique = _columns(params, tokens, unique_tokens)
        if refused := checks.forecast_refusal(self.runs, N, D, D / np.minimum(D, unique)):
            raise DataError(refused)
        return self.estimate(N, D, unique, level)

    def estimate(self, N: FloatArray, D: FloatArray, unique: FloatArray, level: float = LEVEL) -> Prediction:
        """Return losses as `predict` does, of targets that may be too far from the rows as well."""
        known = {each: each.predict(N, D) for each in dict.fromkeys(self._posteriors)}
        medians, variances = (np.array([known[each][part] for each in self._posteriors]) for part in (0, 1))
        logs = np.log(medians) + np.log1p(self._strengths[:, None] * penalty(N, D, unique))
        mean = self._weights @ logs
        by_strength = self._weights @ (logs - mean) ** 2
        decades = decades_beyond(self.runs, FLOPS_PER_PARAM_TOKEN * N * D)
        own = self.widening * self.discrepancy.deviation(self._weights @ variances, decades, self.runs.run_noise)
        by_row = np.abs(self.without_each(N, D)).max(axis=0, initial=0.0) / Z_P90
        warned = [bool(checks.forecast_warnings(self.runs, *at)) for at in zip(N.tolist(), D.tolist(), strict=True)]
        factor = np.where(warned, WARNED_WIDENING, 1.0)
        return Prediction(np.exp(mean), factor * np.sqrt(own**2 + by_strength + by_row**2), level)

    def warnings(self, params: float, tokens: float) -> list[checks.Caution]:
        """Return what makes the forecast of this run less sure than others; empty where nothing does.

        Where the rows carry no forecast at all, that alone is returned, with the code "refused".
        """
        if len(_columns(params, tokens, math.inf)[0]) > 1:
            raise DataError("params and tokens: give those of one run")
        if refused := checks.forecast_refusal(self.runs, params, tokens):
            return [checks.Caution("refused", refused)]
        return checks.forecast_warnings(self.runs, params, tokens)

    @cached_property
    def exponents(self) -> tuple[checks.Exponent, checks.Exponent]:
        """What the rows alone say of alpha and beta, without a prior."""
        return checks.exponents_of(self.posterior)

    def optimum(self, flops: float) -> checks.Optimum:
        """Return the best size at 6 N D = `flops` over the laws that the rows leave open.

        Raises DataError where the rows show none, and for a budget that isn't finite and above zero.
        """
        if not _is_between(0, flops, math.inf):
            raise DataError(f"flops {flops!r:.40}: give a finite number above zero, like 1e21")
        laws = [(law.optimal_params(flops), w) for law, w in self.posterior.laws() if law.A > 0 and law.B > 0]
        if sum(weight for _, weight in laws) < 0.5:
            return checks.require_optimum(self.runs, self.exponents, None)
        sizes, weights = np.array(sorted(laws)).T
        reached = (np.cumsum(weights) - weights / 2) / weights.sum()
        p10, middle, p90 = np.exp(np.interp((0.1, 0.5, 0.9), reached, np.log(sizes))).tolist()
        tokens = flops / (FLOPS_PER_PARAM_TOKEN * middle)
        loss = float(self.log_loss(np.array([middle]), np.array([tokens]))[0])
        found = checks.Optimum(flops, middle, tokens, math.exp(loss), p10, p90)
        return checks.require_optimum(self.runs, self.exponents, found)

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return log losses of text that is read once, by the likeliest strength: good for comparing many sizes."""
        return np.log(self.posterior.predict(params, tokens)[0])

    @property
    def strength(self) -> Strength:
        """The penalty's strength, as the rows and what is known besides leave it."""
        logs = np.log(self._strengths)
        mean = float(self._weights @ logs)
        return Strength(math.exp(mean), math.sqrt(float(self._weights @ (logs - mean) ** 2)))

    def without_each(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return by how much the log of each median moves (rows, t) without each of the rows of the most compute."""
        before = self.log_loss(params, tokens)
        changes = [np.log(rest.predict(params, tokens)[0]) - before for rest in self._rests]
        return np.stack(changes) if changes else np.zeros((0, len(before)))

    @cached_property
    def _rests(self) -> list[Posterior]:
        largest = np.argsort(-self.runs.flops, kind="stable")[:NUM_LARGEST]
        return [self._posterior(self.runs.where(np.arange(len(self.runs)) != row)) for row in largest]

    def _weigh(self, known: Strength) -> None:
        """Set strengths of the penalty, their weights, and posteriors of what losses would have been on fresh text."""
        runs, strengths = self.table, known.median * np.exp(known.log_deviation * _STRENGTHS)
        logs = -(_STRENGTHS**2) / 2
        if runs.unique is None or (runs.tokens / runs.unique - 1).max() <= LEAST_REPEATS:  # the rows say nothing of it
            posteriors = [self._posterior(replace(runs, unique=None))] * len(strengths)
        else:
            costs = penalty(runs.params, runs.tokens, runs.unique)
            fresh = (replace(runs, loss=runs.loss / (1 + strength * costs), unique=None) for strength in strengths)
            posteriors = [self._posterior(each) for each in fresh]
            logs = logs + np.array([each.log_evidence for each in posteriors])
        weights = np.exp(logs - logs.max())
        kept = np.flatnonzero(weights > _LEAST_WEIGHT)
        self._strengths, self._weights = strengths[kept], weights[kept] / weights[kept].sum()
        self._posteriors = [posteriors[place] for place in kept]

    @cached_property
    def _of_past(self) -> list[tuple[FloatArray, FloatArray]]:
        return [self._posterior(cut.fitted).predict(cut.beyond.params, cut.beyond.tokens) for cut in self.past]

    def _posterior(self, runs: Runs) -> Posterior:
        return Posterior(runs, self._prior, self._departure)


def _is_between(low: float, value: Any, high: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and low < float(value) < high


def _columns(*given: ArrayLike) -> tuple[FloatArray, ...]:
    """Return numbers of runs as arrays of one length (t,); all above zero and finite, but for the last."""
    try:
        found = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in given))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"these sizes don't go together ({error}); give numbers, as many of each") from error
    if not found[0].size:
        raise DataError("there is no run; give params and tokens of one or more")
    if not (all((values > 0).all() for values in found) and np.isfinite(found[:-1]).all()):
        raise DataError("numbers of a run must be finite and above zero: give its plain counts, and no failed run")
    return tuple(np.atleast_1d(values).ravel() for values in found)
