"""The interval of forecasts that people see, 80 %, P10 to P90; and those of 95 % around what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.8
"The share of actual values that an interval should hold."


def deviations_of(level: float) -> float:
    """Return how many standard deviations either side of the mean hold this share, between 0 and 1."""
    return NormalDist().inv_cdf((1 + level) / 2)


MIN_DOCUMENTS = 20
"Of fewer documents nothing is said of other text: they may be of one kind."
Z_P90 = deviations_of(LEVEL)


@dataclass(frozen=True)
class Estimate:
    """A mean of `num` observations, and the ends of the interval of 95 % around it."""

    value: float
    low: float
    high: float
    num: int


def share(num_true: int, num: int) -> Estimate:
    """Return a share with Wilson's interval (1927), good near 0 and 1 too; ValueError for none of none."""
    if not 0 <= num_true <= num or num < 1:
        raise ValueError(f"{num_true} of {num} is no share")
    return Estimate(num_true / num, *_wilson(num_true / num, num), num)


def _wilson(value: float, num: float) -> tuple[float, float]:
    z = deviations_of(0.95)
    middle, half = value + z**2 / 2 / num, z * math.sqrt(value * (1 - value) / num + (z / 2 / num) ** 2)
    return max(0.0, (middle - half) / (1 + z**2 / num)), min(1.0, (middle + half) / (1 + z**2 / num))


def bounded_mean(values: Sequence[float], least: float, most: float) -> Estimate:
    """Return the mean of independent values from `least` to `most`, with an interval that stays between them.

    It is Wilson's of as many 0s and 1s as would vary like these values and one more that varies the most.
    """
    num, scale = len(values), most - least
    mean = (math.fsum(values) / num - least) / scale
    of_most = mean * (1 - mean)
    variance = (math.fsum(((value - least) / scale - mean) ** 2 for value in values) + of_most) / num
    low, high = _wilson(mean, num * of_most / variance if of_most > 0 else num**2)
    return Estimate(least + scale * mean, least + scale * low, least + scale * high, num)


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of independent values with the interval of a normal distribution."""
    if not values:
        raise ValueError("there is no mean of no values")
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    half = deviations_of(0.95) * math.sqrt(variance / len(values))
    return Estimate(mean, mean - half, mean + half, len(values))


def ratio_estimate(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Return the ratio of two sums over independent parts, with the interval of its first-order variance.

    That is Cochran's (Sampling Techniques, 1977, 6.4): of what each part's numerator differs from its share.
    """
    num, whole = len(numerators), math.fsum(denominators)
    if num < 2 or whole <= 0:
        raise ValueError(f"{num} parts whose denominators sum to {whole:g} have no ratio with an interval")
    ratio = math.fsum(numerators) / whole
    squares = math.fsum((up - ratio * down) ** 2 for up, down in zip(numerators, denominators, strict=True))
    half = deviations_of(0.95) * math.sqrt(squares * num / (num - 1)) / whole
    return Estimate(ratio, ratio - half, ratio + half, num)
