"""The rolling-origin back-test: fit on the runs up to some compute, forecast those beyond, compare with what happened.

Origins lie a quarter of a decade apart below the largest run, whatever the design of the table, so that nothing about
a family decides where it is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headwater.plan.scaling.table import FloatArray, Runs, num_distinct

ORIGIN_STEP = 0.25  # decades of compute
MAX_DECADES = 2.0
MIN_FITTED, MIN_SIZES = 8, 3
MIN_FITTED_INSIDE = 6  # of a table that is held against itself
LEAST_FITTED = 4  # of a ladder: the prior carries what so few leave open
LEAST_RATIO, GREATEST_RATIO = 1.0, 1000.0  # tokens per parameter of a run that somebody would plan
_SAME_COMPUTE = 0.01  # decades


@dataclass(frozen=True)
class TableCut:
    """One cut of a table: the runs that are fitted, and those beyond that are forecast."""

    fitted: Runs
    beyond: Runs

    @property
    def decades(self) -> FloatArray:
        return decades_beyond(self.fitted, self.beyond.flops)


def decades_beyond(runs: Runs, flops: FloatArray) -> FloatArray:
    """Return how far targets lie beyond the largest run, in decades of compute; zero inside."""
    return np.maximum(0.0, np.log10(flops / runs.flops.max()))


def span(runs: Runs) -> float:
    """Return how many decades of compute the runs cover."""
    return float(np.log10(runs.flops.max() / runs.flops.min()))


def origins(runs: Runs, min_fitted: int = MIN_FITTED) -> Iterator[TableCut]:
    """Yield every cut that leaves enough runs of enough sizes to fit, and a run of a plausible shape beyond.

    A target further beyond than the fitted runs themselves reach is not asked for: the forecaster calls that too far.
    """
    log_flops, ratio = np.log10(runs.flops), runs.tokens / runs.params
    plausible = (ratio >= LEAST_RATIO) & (ratio <= GREATEST_RATIO)
    fitted_before = 0
    for threshold in thresholds(log_flops):
        fitted = runs.where(log_flops <= threshold)
        if len(fitted) in (fitted_before, 0):
            continue
        fitted_before = len(fitted)
        if fitted_before < min_fitted or min(num_distinct(fitted.params), num_distinct(fitted.tokens)) < MIN_SIZES:
            continue
        largest = np.log10(fitted.flops.max())
        beyond = (log_flops > largest + _SAME_COMPUTE) & (log_flops <= largest + min(MAX_DECADES, span(fitted)))
        if (beyond & plausible).any():
            yield TableCut(fitted, runs.where(beyond & plausible))


def past_cuts(runs: Runs) -> list[TableCut]:
    """Return the cuts that a table is held against itself by: a small ladder's larger rows, one by one."""
    found = list(origins(runs, MIN_FITTED_INSIDE))
    if found or len(runs) > MIN_FITTED_INSIDE + 2:
        return found
    order = np.argsort(runs.flops, kind="stable")
    return [
        TableCut(runs.where(order[:count]), runs.where(order[count : count + 1]))
        for count in range(LEAST_FITTED, len(runs))
    ]


def thresholds(log_flops: FloatArray) -> FloatArray:
    """Return where to cut, in log10 of FLOPs, least first: the last is one step below the largest run."""
    num_steps = int((log_flops.max() - log_flops.min()) / ORIGIN_STEP + 1e-9)
    return np.asarray(log_flops.max() - ORIGIN_STEP * np.arange(num_steps, 0, -1) + 1e-9)
