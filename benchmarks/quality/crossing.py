"""When headwater reaches what a baseline ended with, as a share of the baseline's time, with its uncertainty.

A schedule must end for its run to be judged, so a seed's curve is made of whole runs of several planned lengths, and
the time at which it crosses the baseline's bits per byte is interpolated between two of them, in log time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

import numpy as np

NUM_RESAMPLES = 10_000
# Student's t, two-sided 95 %, by degrees of freedom
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}


@dataclass(frozen=True, order=True)
class Point:
    """A whole run: how long it took and what it ended with; bits_per_byte is inf for one that diverged."""

    seconds: float
    bits_per_byte: float


Curve = Sequence[Point]


def crossing_seconds(curve: Curve, target: float) -> float:
    """Return the time from which on every longer run of the curve reaches `target`, interpolated in log time.

    0.0 when the shortest run reaches it already, inf when the longest doesn't: then there is nothing between which
    to interpolate, and nothing is extrapolated.
    """
    points = sorted(curve)
    short = max((i for i, point in enumerate(points) if point.bits_per_byte > target), default=-1)
    if short < 0:
        return 0.0
    if short == len(points) - 1:
        return math.inf
    before, after = points[short], points[short + 1]
    if math.isinf(before.bits_per_byte):
        return after.seconds
    share = (before.bits_per_byte - target) / (before.bits_per_byte - after.bits_per_byte)
    return before.seconds * (after.seconds / before.seconds) ** share


def time_ratio(curves: Sequence[Curve], baseline: Sequence[Point]) -> float:
    """Return the geometric mean of the curves' crossings over that of the baseline's times, for its mean target."""
    target = fmean(point.bits_per_byte for point in baseline)
    crossings = [crossing_seconds(curve, target) for curve in curves]
    if math.inf in crossings:
        return math.inf
    if 0.0 in crossings:
        return 0.0
    return math.exp(fmean(map(math.log, crossings)) - fmean(math.log(point.seconds) for point in baseline))


def bootstrap_interval(curves: Sequence[Curve], baseline: Sequence[Point]) -> tuple[float, float] | None:
    """Return the 95 % percentile interval when the seeds of both sides are drawn again; None for one seed a side."""
    if len(curves) < 2 or len(baseline) < 2:
        return None
    generator = np.random.default_rng(0)
    ratios = []
    for _ in range(NUM_RESAMPLES):
        ours = generator.integers(0, len(curves), len(curves))
        theirs = generator.integers(0, len(baseline), len(baseline))
        ratios.append(time_ratio([curves[i] for i in ours], [baseline[i] for i in theirs]))
    ratios.sort()
    # sorted, not np.quantile: between a number and inf there is no mean
    return ratios[math.floor(0.025 * (len(ratios) - 1))], ratios[math.ceil(0.975 * (len(ratios) - 1))]


def t_interval(curves: Sequence[Curve], baseline: Sequence[Point]) -> tuple[float, float] | None:
    """Return the 95 % interval of the log ratio by Student's t with Welch's degrees of freedom.

    Three seeds drawn again give too narrow an interval; this one knows how few they are. The baseline's spread in
    bits per byte counts through the curves' slope. None for one seed a side, or where a curve has no crossing.
    """
    if len(curves) < 2 or len(baseline) < 2:
        return None
    target = fmean(point.bits_per_byte for point in baseline)
    crossings = [crossing_seconds(curve, target) for curve in curves]
    if not all(0 < crossing < math.inf for crossing in crossings):
        return None
    slope = fmean(_slope(curve, target) for curve in curves)
    parts = [  # (variance of a mean, how many it is of)
        (variance(map(math.log, crossings)) / len(curves), len(curves)),
        (slope**2 * variance(point.bits_per_byte for point in baseline) / len(baseline), len(baseline)),
        (variance(math.log(point.seconds) for point in baseline) / len(baseline), len(baseline)),
    ]
    total = sum(part for part, _ in parts)
    ratio = time_ratio(curves, baseline)
    if total == 0:
        return ratio, ratio
    freedom = total**2 / sum(part**2 / (count - 1) for part, count in parts)
    half = T_975[max(1, min(10, math.floor(freedom)))] * math.sqrt(total)
    return ratio * math.exp(-half), ratio * math.exp(half)


def _slope(curve: Curve, target: float) -> float:
    """Return the log seconds that a bit per byte costs, where the curve crosses the target; 0 after a divergence."""
    points = sorted(curve)
    short = max(i for i, point in enumerate(points) if point.bits_per_byte > target)
    before, after = points[short], points[short + 1]
    if math.isinf(before.bits_per_byte):
        return 0.0
    return math.log(after.seconds / before.seconds) / (before.bits_per_byte - after.bits_per_byte)


def compare(curves: Sequence[Curve], baseline: Sequence[Point], limit: float) -> dict[str, Any]:
    """Return the ratio, its intervals, and whether both intervals lie below `limit`; null stands for unknown.

    A ratio or an end of an interval is null when it lies outside of the lengths that were run; `bound` says where.
    """
    ratio, by_t, by_resampling = (
        function(curves, baseline) for function in (time_ratio, t_interval, bootstrap_interval)
    )
    baseline_seconds = math.exp(fmean(math.log(point.seconds) for point in baseline))
    all_points = [point for curve in curves for point in curve]
    bound = {
        0.0: f"below {min(all_points).seconds / baseline_seconds:.3f}",
        math.inf: f"above {max(all_points).seconds / baseline_seconds:.3f}",
    }.get(ratio)
    known = [interval for interval in (by_t, by_resampling) if interval is not None]
    return {
        "ratio": _known(ratio),
        "bound": bound,
        "interval_95": None if by_resampling is None else [_known(end) for end in by_resampling],
        "interval_95_t": None if by_t is None else [_known(end) for end in by_t],
        "limit": limit,
        "below_limit": 0 < ratio < limit,
        "excludes_limit": len(known) == 2 and all(upper < limit for _, upper in known),
        "baseline_bits_per_byte": fmean(point.bits_per_byte for point in baseline),
        "baseline_seconds": baseline_seconds,
        "headwater_seconds": None if _known(ratio) is None else ratio * baseline_seconds,
    }


def _known(value: float) -> float | None:
    return value if 0 < value < math.inf else None
