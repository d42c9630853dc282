"""The numbers behind the pictures of a fit: isoFLOP curves, the frontier with its band, profiles of the exponents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.scaling.arrays import Z_P90, FloatArray
from headwater.scaling.backtest import span
from headwater.scaling.forecast import Forecaster
from headwater.scaling.frontier import optimum
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN

NUM_BUDGETS = 6
_NUM_POINTS = 40
_SAME_BUDGET = 0.06  # decades
_MAX_DECADES_DRAWN = 1.5


@dataclass(frozen=True)
class IsoFlop:
    """Runs of one budget (within 15 %) and the fitted loss along it."""

    flops: float
    run_params: FloatArray
    run_losses: FloatArray
    params: FloatArray
    losses: FloatArray


@dataclass(frozen=True)
class Frontier:
    """Loss at the compute-optimal size by budget, with its band from P10 to P90; ends beyond the largest run."""

    flops: FloatArray
    params: FloatArray
    tokens: FloatArray
    p10: FloatArray
    p50: FloatArray
    p90: FloatArray


def isoflops(forecaster: Forecaster) -> list[IsoFlop]:
    """Return the budgets with the most runs, at most NUM_BUDGETS, least first; none where no three runs share one."""
    runs = forecaster.runs
    logs = np.log10(runs.flops)
    left = np.ones(len(runs), dtype=bool)
    found: list[IsoFlop] = []
    while len(found) < NUM_BUDGETS:
        near = (np.abs(logs[:, None] - logs[None, :]) <= _SAME_BUDGET) & left[None, :]
        middle = int(near.sum(axis=1).argmax())
        members = near[middle]
        if members.sum() < 3:
            break
        left &= np.abs(logs - logs[middle]) > 2 * _SAME_BUDGET
        found.append(_isoflop(forecaster, float(np.median(runs.flops[members])), members))
    return sorted(found, key=lambda curve: curve.flops)


def _isoflop(forecaster: Forecaster, flops: float, members: NDArray[np.bool_]) -> IsoFlop:
    runs = forecaster.runs
    low, high = np.log(runs.params[members].min() / 1.3), np.log(runs.params[members].max() * 1.3)
    params = np.exp(np.linspace(low, high, _NUM_POINTS))
    losses, _ = forecaster.spread(params, flops / (FLOPS_PER_PARAM_TOKEN * params))
    return IsoFlop(flops, runs.params[members], runs.loss[members], params, losses)


def frontier(forecaster: Forecaster) -> Frontier | None:
    """Return the frontier, to as far beyond the largest run as the rows reach; None when there is no optimum."""
    runs = forecaster.runs
    beyond = min(span(runs), _MAX_DECADES_DRAWN)
    budgets = 10 ** np.linspace(np.log10(runs.flops.min()), np.log10(runs.flops.max()) + beyond, _NUM_POINTS)
    found = [best for best in (optimum(forecaster.posterior, float(flops)) for flops in budgets) if best is not None]
    if len(found) < 2:
        return None
    flops, params, tokens = (
        np.array([getattr(best, name) for best in found]) for name in ("flops", "params", "tokens")
    )
    medians, deviations = forecaster.spread(params, tokens)
    factor = np.exp(Z_P90 * deviations)
    return Frontier(flops, params, tokens, medians / factor, medians, medians * factor)
