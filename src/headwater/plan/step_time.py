"""A step's time from a model of it and from what steps took on the same machine, each counted by how sure it is.

A model of steps is off by a factor that is the machine's, and by a smaller one that is the shape's. What a run took
says both, but for the machine's drift: its pace wanders, and the mean over a run is not that over another. So an
earlier run is a measurement of the machine with the drift for an error, a long one a better one, and the next run is
expected at the machine's usual pace, with a drift of its own on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.plan.forecast_run import Spread
from headwater.plan.processor import constants

DRIFT, DRIFT_SECONDS = 0.06, 110.0
"Spread of the log of a virtual machine's pace, and the seconds over which it is alike (docs/log.md, 2026-11-26)."
AT_ODDS = 3.0  # deviations from the newest measurement beyond which an older one is of another machine


@dataclass(frozen=True)
class Seen:
    """A measured step over the modelled one: its logarithm, and how far it may be from the machine's usual pace.

    Steps of one `shape` are all off alike.
    """

    log_ratio: float
    log_deviation: float
    shape: str


def drift(seconds: float) -> float:
    """Return the spread of the log of the machine's mean pace over so many seconds.

    Of a pace whose likeness falls exponentially with time: DRIFT over a moment, as 1 / √seconds over hours.
    """
    times = seconds / DRIFT_SECONDS
    if times < 1e-3:
        return DRIFT
    return DRIFT * math.sqrt(2 * (times + math.expm1(-times))) / times


def of_this_machine(newest: Seen, older: Sequence[Seen]) -> list[Seen]:
    """Return those that agree with the newest: others were measured on another machine, or before it changed."""
    of_shape = math.sqrt(2) * constants()["log_deviation"]["step_shape"]

    def agrees(one: Seen) -> bool:
        shapes = 0.0 if one.shape == newest.shape else of_shape
        reach = AT_ODDS * math.hypot(one.log_deviation, newest.log_deviation, shapes)
        return abs(one.log_ratio - newest.log_ratio) <= reach

    return [one for one in older if agrees(one)]


def usual_ratio(shape: str, seen: Sequence[Seen]) -> Spread:
    """Return the step at the machine's usual pace over the modelled one, by all that was `seen` of the machine.

    The model counts as a measurement, too, with its own spread; where it is further off than that, by how far it is.
    """
    spread = constants()["log_deviation"]
    own = spread["step_shape"] ** 2
    if not seen:
        return Spread(1.0, math.sqrt(spread["step"] ** 2 + own))
    ratios = np.array([each.log_ratio for each in seen])
    noise = np.array([each.log_deviation**2 for each in seen])
    machine = max(spread["step"] ** 2, float(np.average(ratios, weights=1 / noise)) ** 2)
    shapes = np.array([each.shape for each in seen])
    covariance = machine + own * (shapes[:, None] == shapes[None, :]) + np.diag(noise)
    shared = machine + own * (shapes == shape)
    weights = np.linalg.solve(covariance, shared)
    left = max(0.0, machine + own - float(weights @ shared))
    return Spread(math.exp(float(weights @ ratios)), math.sqrt(left))
