"""Tables that carry no law: one loss for all rows, or losses that rise where the law says they fall.

A fit finds numbers for any table. In every table of runs that the back-test holds (benchmarks/law_backtest.py), of two
runs of which one has no fewer params and no fewer tokens, that one has the lower loss in 95 of 100 pairs or more.
"""

from __future__ import annotations

import math

import numpy as np

from headwater.scaling.posterior import NOISE
from headwater.scaling.table import Runs

_LARGER = math.log(1.05)  # params × tokens by which a run counts as larger
_MOST_RISING = 1 / 3  # of the pairs whose losses differ by more than noise
_MOST_ROWS = 500  # looked at: pairs are squares of them


def no_law(runs: Runs) -> str | None:
    """Return why these rows carry no law at all, or None where loss falls with size."""
    noise = max(NOISE, runs.run_noise or 0.0)
    lowest, highest = float(runs.loss.min()), float(runs.loss.max())
    if highest / lowest - 1 <= noise:
        losses = f"are all {lowest:.4g}" if lowest == highest else f"only go from {lowest:.5g} to {highest:.5g}"
        return (
            f"the losses {losses}, and reruns of one run differ by {noise:.1%}: nothing here shows how loss falls with "
            "size; check the column of losses, or add runs further apart"
        )
    rising, falling = _pairs(runs, 2 * noise)
    if rising > _MOST_RISING * (rising + falling):
        return (
            f"in {rising:,} of {rising + falling:,} pairs the larger run has the higher loss: these losses don't fall "
            "with size; check that the columns are params, tokens and loss, and that every run was trained well"
        )
    return None


def _pairs(runs: Runs, noise: float) -> tuple[int, int]:
    """Return in how many pairs of a smaller and a larger run loss rises and falls by more than `noise`, relative."""
    order = np.argsort(runs.flops, kind="stable")
    kept = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_ROWS)).round().astype(int)]
    more_N, more_D, change = (
        np.log(values[kept])[None, :] - np.log(values[kept])[:, None]
        for values in (runs.params, runs.tokens, runs.loss)
    )
    change = change[(more_N >= 0) & (more_D >= 0) & (more_N + more_D > _LARGER)]
    return int((change > noise).sum()), int((change < -noise).sum())
