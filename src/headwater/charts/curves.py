"""Curves made ready to draw: thinned without hiding a spike, smoothed, and put on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterable

from headwater.records import Record, amount

MAX_POINTS = 2000

Points = list[tuple[float, float]]


def points(records: Iterable[Record], x: str, *y: str) -> Points:
    """Return (x, y) of every record in which both are finite numbers; `y` is a path into the record."""
    pairs = ((amount(record, x), amount(record, *y)) for record in records)
    return [(x_value, y_value) for x_value, y_value in pairs if x_value is not None and y_value is not None]


def thin(curve: Points, max_points: int = MAX_POINTS) -> Points:
    """Return at most `max_points` of a curve: the lowest and highest of every bucket, and always both ends.

    Random or evenly spaced points would hide a spike of one step, which is what matters to a reader.
    """
    if len(curve) <= max_points:
        return list(curve)
    inner = curve[1:-1]
    num_buckets = max(1, (max_points - 2) // 2)
    kept = [curve[0]]
    for bucket in range(num_buckets):
        start, stop = bucket * len(inner) // num_buckets, (bucket + 1) * len(inner) // num_buckets
        indices = range(start, stop)
        if indices:
            low = min(indices, key=lambda index: inner[index][1])
            high = max(indices, key=lambda index: inner[index][1])
            kept.extend(inner[index] for index in sorted({low, high}))
    return [*kept, curve[-1]]


def smooth(curve: Points, fraction: float = 0.05) -> Points:
    """Return each point's mean over the points within ±`fraction` of its own rank.

    A window that grows with the rank smooths alike everywhere on a logarithmic axis, and a centred one
    doesn't lag behind a falling loss as an exponential average does.
    """
    sums = [0.0]
    for _, y in curve:
        sums.append(sums[-1] + y)
    smoothed = []
    for index, (x, _) in enumerate(curve):
        reach = math.floor(fraction * index)
        start, stop = max(0, index - reach), min(len(curve), index + reach + 1)
        smoothed.append((x, (sums[stop] - sums[start]) / (stop - start)))
    return smoothed


def on_log_axis(curve: Points) -> Points:
    """Return the curve with x = 0 (before training) moved to half the first positive x, for a logarithmic axis."""
    positive = [x for x, _ in curve if x > 0]
    if not positive:
        return []
    return [(x if x > 0 else min(positive) / 2, y) for x, y in curve]
