"""Curves made ready to draw: thinned without hiding a spike, smoothed, and put on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

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


# multiples of a power of ten at which a logarithmic axis may be marked, finest first
_TICK_FACTORS = [(1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)]
# below this ratio of the ends, marks at equal steps are rounder
_NARROW = 3.0


def log_ticks(values: Sequence[float], max_ticks: int = 6) -> list[float]:
    """Return round positions within the range of the positive `values`, as fine as `max_ticks` allows."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    low, high = min(positive), max(positive)
    if high / low < _NARROW:
        return _even_ticks(low, high, max_ticks)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in _TICK_FACTORS:
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) <= max_ticks:
            return ticks
    return ticks[:: math.ceil(len(ticks) / max_ticks)]


def _even_ticks(low: float, high: float, max_ticks: int) -> list[float]:
    """Return the multiples of the smallest step of 1, 2 or 5 times a power of ten that gives few enough of them."""
    if low == high:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / max_ticks))
    for step in [power, 2 * power, 5 * power, 10 * power, 20 * power]:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < max_ticks:
            return [round(multiple * step, 12) for multiple in range(first, last + 1)]
    return [low, high]
