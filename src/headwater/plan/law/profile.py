"""The profile likelihood of each exponent: how much worse the best fit becomes when it is held at another value.

A flat profile is how an exponent that the rows can't tell is made visible; a point estimate hides it. No prior is in
it. Errors are whitened by the posterior's covariance, so that runs which depart together don't count as separate
evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.plan.law.grid import exponents
from headwater.plan.law.posterior import Posterior

FloatArray = NDArray[np.float64]

DROP_90 = 2.7055434540954146 / 2  # of the log likelihood at the ends of a 90 % interval
_SPACE = exponents(low=0.05, high=1.2, count=81)
_MOST_UNCERTAIN = 3.0  # high / low beyond which an exponent is called unidentified


@dataclass(frozen=True)
class Profile:
    """log_likelihood is relative to the best; low and high bound the 90 % interval, or are the ends of the grid."""

    exponents: FloatArray
    log_likelihood: FloatArray
    low: float
    high: float
    is_bounded: bool

    @property
    def is_identified(self) -> bool:
        return self.is_bounded and self.high / self.low <= _MOST_UNCERTAIN


def profiles(posterior: Posterior) -> tuple[Profile, Profile]:
    """Return the profiles of alpha and of beta."""
    grid = posterior.solved_at(_SPACE)
    log_likelihood = -0.5 * len(posterior.runs) * np.log(np.maximum(grid.squares, 1e-300))
    return tuple(_profile(grid.exponents, log_likelihood.max(axis=axis)) for axis in (1, 0))  # type: ignore[return-value]


def _profile(space: FloatArray, heights: FloatArray) -> Profile:
    relative = heights - heights.max()
    top = int(relative.argmax())
    low, is_low_bounded = _crossing(np.log(space[top::-1]), relative[top::-1])
    high, is_high_bounded = _crossing(np.log(space[top:]), relative[top:])
    return Profile(space, relative, math.exp(low), math.exp(high), is_low_bounded and is_high_bounded)


def _crossing(logs: FloatArray, heights: FloatArray) -> tuple[float, bool]:
    """Return where the profile, walked from its top, first falls under the interval's height, and whether it does."""
    under = np.flatnonzero(heights < -DROP_90)
    if not len(under):
        return float(logs[-1]), False
    after = int(under[0])
    share = (heights[after - 1] + DROP_90) / (heights[after - 1] - heights[after])
    return float(logs[after - 1] + share * (logs[after] - logs[after - 1])), True
