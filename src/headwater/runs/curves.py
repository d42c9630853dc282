"""Curves made ready to draw: thinned without hiding a spike, smoothed, and put on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headwater.core.records import Record, amount

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
        if ys := [y for _, y in inner[start:stop]]:
            kept.extend(inner[start + index] for index in sorted({ys.index(min(ys)), ys.index(max(ys))}))
    return [*kept, curve[-1]]


def smooth(curve: Points, fraction: float = 0.05) -> Points:
    """Return each point's mean over the points within ±`fraction` of its own rank.

    A window that grows with the rank smooths alike everywhere on a logarithmic axis, and a centred one
    doesn't lag behind a falling loss as an exponential average does.
    """
    sums = np.cumsum([0.0, *(y for _, y in curve)])
    ranks = np.arange(len(curve))
    reaches = (fraction * ranks).astype(int)
    starts, stops = ranks - reaches, np.minimum(len(curve), ranks + reaches + 1)
    means = (sums[stops] - sums[starts]) / (stops - starts)
    return list(zip((x for x, _ in curve), means.tolist(), strict=True))


def on_log_axis(curve: Points) -> Points:
    """Return the curve with x = 0 (before training) moved to half the first positive x, for a logarithmic axis."""
    positive = [x for x, _ in curve if x > 0]
    if not positive:
        return []
    return [(x if x > 0 else min(positive) / 2, y) for x, y in curve]
