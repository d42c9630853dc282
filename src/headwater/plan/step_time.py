"""A step's time from a model of it and from what steps took on the same machine, each counted by how sure it is.

A model of steps is off by a factor that is the machine's, and by a smaller one that is the shape's. What a run took
says both, but for the machine's drift: its pace wanders, and the mean over a run is not that over another. So an
earlier run is a measurement of the machine with the drift for an error, a long one a better one, two soon after each
other hardly more than one. The next run is expected at the machine's usual pace, with a drift of its own on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.plan.arrays import FloatArray
from headwater.plan.forecast_run import Spread
from headwater.plan.processor import constants

DRIFT, DRIFT_SECONDS = 0.06, 110.0
"Spread of the log of a virtual machine's pace, and the seconds in which its likeness falls to 1/e (docs/log.md)."
AT_ODDS = 3.0  # deviations beyond which two measurements aren't of one machine
_ROUNDING = 1e-8  # of variances, so that no measurement is certain


@dataclass(frozen=True)
class Seen:
    """A measured step over the modelled one, as a logarithm: of which shape, and when, in seconds since 1970.

    `log_deviation` is that of the measurement itself; the machine's drift while it lasted comes on top.
    """

    log_ratio: float
    log_deviation: float
    shape: str
    begun_at: float
    ended_at: float

    @property
    def deviation(self) -> float:
        """How far it may be from the machine's usual pace."""
        return math.hypot(self.log_deviation, drift(self.ended_at - self.begun_at))


def drift(seconds: float) -> float:
    """Return the spread of the log of the machine's mean pace over so many seconds.

    Of a pace whose likeness falls exponentially with time: DRIFT over a moment, as 1 / √seconds over hours.
    """
    times = seconds / DRIFT_SECONDS
    if times < 1e-3:
        return DRIFT
    return DRIFT * math.sqrt(2 * (times + math.expm1(-times))) / times


def of_this_machine(reference: Seen, others: Sequence[Seen]) -> list[Seen]:
    """Return those that agree with the reference: the rest are of another machine, or from before it changed."""
    of_shape = math.sqrt(2) * constants()["log_deviation"]["step_shape"]

    def agrees(one: Seen) -> bool:
        shapes = 0.0 if one.shape == reference.shape else of_shape
        return abs(one.log_ratio - reference.log_ratio) <= AT_ODDS * math.hypot(
            one.deviation, reference.deviation, shapes
        )

    return [one for one in others if one is reference or agrees(one)]


def newest_that_is_shared(seen: Sequence[Seen]) -> Seen:
    """Return the newest measurement with which another one agrees; the newest of all where none has company.

    One alone may be a moment in which other work held the machine up: that it has changed, two must say.
    """
    newest_first = sorted(seen, key=lambda one: -one.ended_at)
    return next((one for one in newest_first if len(of_this_machine(one, newest_first)) > 1), newest_first[0])


def usual_ratio(shape: str | None, seen: Sequence[Seen]) -> Spread:
    """Return the step at the machine's usual pace over the modelled one, by all that was `seen` of the machine.

    `shape` is None for one that wasn't seen. The model counts as a measurement, too, with its own spread; where it is
    further off than that, by how far it is.
    """
    spread = constants()["log_deviation"]
    own = spread["step_shape"] ** 2
    if not seen:
        return Spread(1.0, math.hypot(spread["step"], spread["step_shape"]))
    ratios = np.array([one.log_ratio for one in seen])
    noise = _noise(seen)
    by_noise = np.linalg.solve(noise, np.ones(len(seen)))
    machine = max(spread["step"] ** 2, float(by_noise @ ratios / by_noise.sum()) ** 2)
    shapes = np.array([one.shape for one in seen])
    covariance = machine + own * (shapes[:, None] == shapes[None, :]) + noise
    shared = machine + own * (shapes == shape)
    weights = np.linalg.solve(covariance, shared)
    left = max(0.0, machine + own - float(weights @ shared))
    return Spread(math.exp(float(weights @ ratios)), math.sqrt(left))


def _noise(seen: Sequence[Seen]) -> FloatArray:
    """Return the covariance of measurements about the usual pace: by drift, alike in near windows, and their own."""
    newest = max(one.ended_at for one in seen)
    begun = np.array([one.begun_at - newest for one in seen])
    ended = np.array([max(one.ended_at - newest, one.begun_at - newest + 1e-3) for one in seen])

    def twice_integrated(apart: FloatArray) -> FloatArray:
        scaled = np.abs(apart) / DRIFT_SECONDS
        return np.asarray(DRIFT_SECONDS**2 * (np.expm1(-scaled) + scaled))

    likeness = (
        twice_integrated(ended[:, None] - begun[None, :])
        - twice_integrated(begun[:, None] - begun[None, :])
        - twice_integrated(ended[:, None] - ended[None, :])
        + twice_integrated(begun[:, None] - ended[None, :])
    ) / np.outer(ended - begun, ended - begun)
    own = np.array([one.log_deviation**2 for one in seen])
    return np.asarray(DRIFT**2 * likeness.clip(0.0, 1.0) + np.diag(own + _ROUNDING))
