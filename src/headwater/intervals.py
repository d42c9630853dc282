"""The interval that people see: 80 %, P10 to P90."""

from __future__ import annotations

from statistics import NormalDist

LEVEL = 0.8
"The share of actual values that an interval should hold."


def deviations_of(level: float) -> float:
    """Return how many standard deviations either side of the mean hold this share, between 0 and 1."""
    return NormalDist().inv_cdf((1 + level) / 2)


Z_P90 = deviations_of(LEVEL)
