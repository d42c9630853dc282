"""A scaling law as an estimator: fit a table of runs, predict others with intervals, ask for the best size.

    law = ScalingLaw.fit(params, tokens, loss)
    law.predict([7e9], [1.4e11], level=0.8)
    law.warnings(7e9, 1.4e11)
    law.optimum(flops=1e21)

The median is that of posterior.py; `law.curve` is the law as the literature fits it, the baseline. The interval joins
what the rows leave open, the noise of one run, what no fit knows of its own form (it grows with the decades beyond the
largest run), and a jackknife: P10 to P90 hold the median without any one of the largest rows. The first three are
widened or narrowed by how the same fit forecasts the table's own larger runs from its smaller ones.

Rows that repeat their text say how strong the penalty of repetition.py is: p counts as much as the losses without it
follow a law, and forecasts are averaged over p.

n runs fitted · t targets · s strengths of the penalty
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from headwater.errors import DataError
from headwater.scaling.arrays import LEVEL, Z_P90, FloatArray, deviations_of
from headwater.scaling.backtest import decades_beyond, past_cuts
from headwater.scaling.law import Law, fit_law
from headwater.scaling.posterior import NOISE, Departure, Posterior, Prior, published_prior
from headwater.scaling.reach import Caution, forecast_refusal, forecast_warnings
from headwater.scaling.repetition import USUAL, Strength, penalty
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, MIN_RUNS, Runs, runs_of

NUM_LARGEST = 5  # rows that are dropped one by one
PRIOR_CUTS = 4.0  # how many cuts of a table the assumption that nothing need be widened is worth
LEAST_REPEATS = 0.05  # of R: less is nothing
_NUM_STRENGTHS, _REACH = 13, 3.0  # on the grid, and how many deviations it spans on either side
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
        return self.median * np.exp(-deviations_of(self.level) * self.log_deviation)

    @property
    def high(self) -> FloatArray:
        return self.median * np.exp(deviations_of(self.level) * self.log_deviation)

    @property
    def band(self) -> tuple[float, float, float]:
        """P10, P50 and P90 of the first target, whatever the level."""
        middle, factor = float(self.median[0]), math.exp(Z_P90 * float(self.log_deviation[0]))
        return middle / factor, middle, middle * factor


@dataclass(frozen=True)
class Optimum:
    """The size and tokens of the least loss at a budget; the size from P10 to P90, by what the rows leave open."""

    flops: float
    params: float
    tokens: float
    loss: float
    params_p10: float
    params_p90: float


@dataclass(frozen=True)
class PastCut:
    """The table's larger runs as its smaller ones forecast them: errors of log loss, and the posterior's variances."""

    num_fitted: int
    errors: FloatArray
    variances: FloatArray
    decades: FloatArray


@dataclass(frozen=True)
class _Weighed:
    """One strength of the penalty, its weight, and the posterior of what losses would have been on fresh text."""

    strength: float
    weight: float
    posterior: Posterior


class ScalingLaw:
    """The fit of one table; make one with `fit`, or with `of` from a table that was read.

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
        self.table, self._known, self._discrepancy = runs, known, discrepancy or Discrepancy()
        self._prior, self._departure = prior or published_prior(), departure
        self._weighed = self._weigh()
        self._weights = np.array([each.weight for each in self._weighed])
        self._likeliest = max(self._weighed, key=lambda each: each.weight)
        self.posterior, self.runs = self._likeliest.posterior, self._likeliest.posterior.runs
        self.past = [self._past(cut.fitted, cut.beyond, cut.decades) for cut in past_cuts(self.runs)]
        self.widening = self.widening_by(self._discrepancy)

    @classmethod
    def fit(
        cls,
        params: ArrayLike,
        tokens: ArrayLike,
        loss: ArrayLike,
        *,
        unique_tokens: ArrayLike | None = None,
    ) -> ScalingLaw:
        """Return the law of finished runs (n,), whose loss may have any unit.

        `tokens` counts repeats, `unique_tokens` doesn't; without it every run read its text once. Raises DataError for
        values that aren't above zero and finite, arrays of different lengths, or fewer than MIN_RUNS runs.
        """
        columns = [np.asarray(values, dtype=np.float64).ravel() for values in (params, tokens, loss)]
        unique = None if unique_tokens is None else np.asarray(unique_tokens, dtype=np.float64).ravel()
        every = columns if unique is None else [*columns, unique]
        if len({len(values) for values in every}) != 1:
            raise DataError(f"params, tokens and loss have {', '.join(str(len(each)) for each in every)} values")
        if not all((np.isfinite(values) & (values > 0)).all() for values in every):
            raise DataError("params, tokens and loss must be finite and above zero: drop the runs that failed")
        if len(columns[0]) < MIN_RUNS:
            raise DataError(f"{len(columns[0])} runs can't carry a law of five unknowns; it needs {MIN_RUNS}: add runs")
        if unique is not None:
            unique = np.minimum(unique, columns[1])
        return cls(replace(runs_of(*columns), unique=unique))

    def with_discrepancy(self, discrepancy: Discrepancy) -> ScalingLaw:
        """Return the same fit with other constants of its interval."""
        other = copy(self)
        other._discrepancy, other.widening = discrepancy, self.widening_by(discrepancy)
        return other

    def widening_by(self, discrepancy: Discrepancy) -> float:
        """Return the factor on standard deviations that makes the median error of past cuts as large as it was.

        A median over each cut, since one odd run says nothing of the rest; each cut counts as one fact, and PRIOR_CUTS
        say that nothing need be widened.
        """
        squares = []
        for cut in self.past:
            off = cut.errors / discrepancy.deviation(cut.variances, cut.decades, self.runs.run_noise)
            squares.append(min(float(np.median(off**2)) / _MEDIAN_SQUARE, _LARGEST_SQUARE))
        return math.sqrt((PRIOR_CUTS + sum(squares)) / (PRIOR_CUTS + len(squares)))

    @cached_property
    def curve(self) -> Law:
        """The law of the least Huber loss, without the cost of repetition: what a plain fit says."""
        return fit_law(self.runs)

    def predict(
        self,
        params: ArrayLike,
        tokens: ArrayLike,
        level: float = LEVEL,
        *,
        unique_tokens: ArrayLike = math.inf,
        total_params: ArrayLike | None = None,
    ) -> Prediction:
        """Return the losses of runs of these sizes (t,), and the interval that holds the share `level` of them.

        `total_params` count embeddings, too, where the table's `params` leave them out. Raises DataError for a level
        outside (0, 1), and for sizes that aren't finite and above zero. `warnings` says which targets lie too far.
        """
        deviations_of(level)
        given = (params, tokens, unique_tokens, params if total_params is None else total_params)
        N, D, unique, total = _targets(*given)
        logs, variances = self._by_strength(N, D, penalty(total, D, unique))
        mean = self._weights @ logs
        variance, by_strength = self._weights @ variances, self._weights @ (logs - mean) ** 2
        decades = decades_beyond(self.runs, FLOPS_PER_PARAM_TOKEN * N * D)
        own = self.widening * self._discrepancy.deviation(variance, decades, self.runs.run_noise)
        by_row = np.abs(self.without_each(N, D)).max(axis=0, initial=0.0) / Z_P90
        return Prediction(np.exp(mean), np.sqrt(own**2 + by_strength + by_row**2), level)

    def warnings(self, params: float, tokens: float) -> list[Caution]:
        """Return what makes the forecast of this run less sure than its interval says; empty where nothing does.

        Where the rows carry no forecast at all, that alone is returned, with the code "refused".
        """
        _targets(params, tokens)
        if refused := forecast_refusal(self.runs, params, tokens):
            return [Caution("refused", refused)]
        return forecast_warnings(self.runs, params, tokens)

    def optimum(self, flops: float) -> Optimum | None:
        """Return the best size at 6 N D = `flops` over the laws that the rows leave open; None without an optimum.

        Raises DataError for a budget that isn't finite and above zero.
        """
        if not 0 < flops < math.inf:
            raise DataError(f"a budget of {flops} FLOPs buys no run; give a finite number above zero, like 1e21")
        found = [(law.optimal_params(flops), w) for law, w in self.posterior.laws() if law.A > 0 and law.B > 0]
        if sum(weight for _, weight in found) < 0.5:
            return None
        sizes, weights = (np.array(values) for values in zip(*found, strict=True))
        order = np.argsort(sizes)
        reached = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
        p10, middle, p90 = np.exp(np.interp((0.1, 0.5, 0.9), reached, np.log(sizes[order]))).tolist()
        tokens = flops / (FLOPS_PER_PARAM_TOKEN * middle)
        loss = float(self.log_loss(np.array([middle]), np.array([tokens]))[0])
        return Optimum(flops, middle, tokens, math.exp(loss), p10, p90)

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return log losses of text that is read once, by the likeliest strength: good for comparing many sizes."""
        return np.log(self.posterior.predict(params, tokens)[0])

    @property
    def strength(self) -> Strength:
        """The penalty's strength, as the rows and what is known besides leave it."""
        logs = np.log([each.strength for each in self._weighed])
        mean = float(self._weights @ logs)
        return Strength(math.exp(mean), math.sqrt(float(self._weights @ (logs - mean) ** 2)))

    @property
    def likeliest_strength(self) -> float:
        """The strength whose penalty was taken out of `runs`, and is to be added to `log_loss`."""
        return self._likeliest.strength

    def without_each(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return by how much the log of each median moves (rows, t) without each of the rows of the most compute."""
        before = self.log_loss(params, tokens)
        changes = [np.log(rest.predict(params, tokens)[0]) - before for rest in self._rests]
        return np.stack(changes) if changes else np.zeros((0, len(before)))

    @cached_property
    def _rests(self) -> list[Posterior]:
        largest = np.argsort(-self.runs.flops, kind="stable")[:NUM_LARGEST]
        return [self._posterior(self.runs.where(np.arange(len(self.runs)) != row)) for row in largest]

    def _by_strength(
        self, params: FloatArray, tokens: FloatArray, penalties: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return medians of log loss (s, t) and the posterior's variances (s, t)."""
        posteriors = {id(each.posterior): each.posterior for each in self._weighed}
        known = {key: posterior.predict(params, tokens) for key, posterior in posteriors.items()}
        pairs = [known[id(each.posterior)] for each in self._weighed]
        strengths = np.array([[each.strength] for each in self._weighed])
        rises = np.log1p(strengths * penalties)
        return np.log([median for median, _ in pairs]) + rises, np.array([variance for _, variance in pairs])

    def _weigh(self) -> list[_Weighed]:
        deviations = np.linspace(-_REACH, _REACH, _NUM_STRENGTHS)
        strengths = self._known.median * np.exp(self._known.log_deviation * deviations)
        logs = -(deviations**2) / 2
        runs = self.table
        if not _is_repeated(runs):  # the rows say nothing of it
            posteriors = [self._posterior(replace(runs, unique=None))] * _NUM_STRENGTHS
        else:
            posteriors = [self._posterior(_without_penalty(runs, float(each))) for each in strengths]
            logs = logs + np.array([each.log_evidence for each in posteriors])
        weights = np.exp(logs - logs.max())
        kept = np.flatnonzero(weights > _LEAST_WEIGHT)
        total = float(weights[kept].sum())
        return [_Weighed(float(strengths[at]), float(weights[at]) / total, posteriors[at]) for at in kept]

    def _past(self, fitted: Runs, beyond: Runs, decades: FloatArray) -> PastCut:
        medians, variances = self._posterior(fitted).predict(beyond.params, beyond.tokens)
        return PastCut(len(fitted), np.log(beyond.loss / medians), variances, decades)

    def _posterior(self, runs: Runs) -> Posterior:
        return Posterior(runs, self._prior, self._departure)


def _targets(params: ArrayLike, tokens: ArrayLike, *others: ArrayLike) -> tuple[FloatArray, ...]:
    """Return targets as arrays of one length (t,); all may be any number above zero, params and tokens finite."""
    try:
        sizes = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in (params, tokens, *others)))
    except ValueError as error:
        raise DataError(f"the targets' sizes don't go together ({error}); give numbers, as many of each") from error
    found = tuple(np.atleast_1d(values).ravel() for values in sizes)
    if not found[0].size:
        raise DataError("there is no target to forecast; give params and tokens of one run or more")
    if not (all((values > 0).all() for values in found) and all(np.isfinite(values).all() for values in found[:2])):
        raise DataError(
            "a target has a size that isn't finite and above zero; give its plain counts of params and tokens"
        )
    return found


def _is_repeated(runs: Runs) -> bool:
    return runs.unique is not None and bool((runs.tokens / runs.unique - 1 > LEAST_REPEATS).any())


def _without_penalty(runs: Runs, strength: float) -> Runs:
    """Return the rows as they would have been on fresh text, were the penalty so strong."""
    assert runs.unique is not None
    total = runs.params if runs.total is None else runs.total
    return replace(runs, loss=runs.loss / (1 + strength * penalty(total, runs.tokens, runs.unique)), unique=None)
