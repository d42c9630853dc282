"""Numbers and spans of time as people read them: three significant digits and a unit."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

MAX_HOURS = 96
MISSING = "not measured yet"
_DASH = "–"
_GAP = "\u00a0"  # keeps a number and its unit on one line


def number(value: Any) -> float | None:
    """Return `value` as a finite float, or None: records may hold nothing, a NaN or something else entirely."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def significant(value: float, digits: int = 3) -> str:
    """Return `value` rounded to `digits` significant digits, never in scientific notation, grouped by thousands."""
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 0.9996 has that of 1.00
    return f"{value:,.{min(max(0, digits - 1 - exponent), 10)}f}"


def apart(*values: float) -> list[str]:
    """Return an interval's numbers with three decimals, or as many more as tell its ends apart: 0.34731, 0.34735."""
    width = max(values) - min(values)
    decimals = 3 if width <= 0 else min(max(3, 1 - math.floor(math.log10(width))), 9)
    return [f"{value:.{decimals}f}" for value in values]


def _scaled(value: float, units: list[str], gap: str) -> str:
    size = abs(value)
    index = 0
    # 999.5 thousand rounds to 1,000 and belongs to the next unit
    while index + 1 < len(units) and size >= 999.5:
        size, value, index = size / 1000, value / 1000, index + 1
    text = f"{value:,.0f}" if index == 0 and float(value).is_integer() and units[0] in ("", "B") else significant(value)
    return f"{text}{gap if units[index] else ''}{units[index]}"


def count(value: float | None) -> str:
    """Return a short count for tables and tiles: 12.6M."""
    return _DASH if value is None else _scaled(value, ["", "k", "M", "B", "T"], "")


def count_in_words(value: float | None) -> str:
    """Return a count for a sentence: 7,162 or 12.6 million."""
    if value is None or value < 1e6:
        return whole(value)
    return _scaled(value / 1e6, ["million", "billion", "trillion"], _GAP)


def whole(value: float | None) -> str:
    return _DASH if value is None else f"{value:,.0f}"


def size(num_bytes: float | None) -> str:
    return _DASH if num_bytes is None else _scaled(num_bytes, ["B", "kB", "MB", "GB", "TB"], _GAP)


def step_time(seconds: float) -> str:
    """Return the time of a step with three digits: 1.25 s, 16.1 ms, 161 µs."""
    unit, scale = next(
        each for each in (("s", 1), ("ms", 1e3), ("µs", 1e6)) if seconds * each[1] >= 1 or each[1] == 1e6
    )
    return f"{seconds * scale:.3g} {unit}"


def flop_rate(flops_per_second: float | None) -> str:
    """Return a rate of arithmetic: 412 GFLOP/s."""
    units = [f"{prefix}FLOP/s" for prefix in ["", "k", "M", "G", "T", "P"]]
    return _DASH if flops_per_second is None else _scaled(flops_per_second, units, _GAP)


def percent(fraction: float | None, decimals: int | None = None) -> str:
    if fraction is None:
        return _DASH
    if decimals is None:
        decimals = 0 if fraction in (0, 1) else 1
    return f"{100 * fraction:.{decimals}f}{_GAP}%"


def decimal(value: float | None, places: int = 3) -> str:
    return _DASH if value is None else f"{value:,.{places}f}"


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit in which a span of time is drawn, and its seconds."""
    for limit, unit, name in [(120, 1, "seconds"), (7200, 60, "minutes"), (MAX_HOURS * 3600, 3600, "hours")]:
        if seconds < limit:
            return name, float(unit)
    return "days", 86400.0


def plural(amount: float, noun: str, ending: str = "s") -> str:
    return f"{count_in_words(amount)} {noun}{'' if amount == 1 else ending}"


def moment(unix_seconds: float | None) -> str:
    if unix_seconds is None:
        return _DASH
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):  # not a time that a calendar has
        return _DASH


def setting(value: Any) -> str:
    """Return a setting's value as a person reads it: a fraction with four digits, None as off."""
    if value is None or isinstance(value, str):
        return "off" if value is None else value
    is_fraction = isinstance(value, float) and abs(value) < 1000
    return json.dumps(float(f"{value:.4g}") if is_fraction else value, ensure_ascii=False)


def times(amount: int) -> str:
    return {1: "once", 2: "twice"}.get(amount, f"{amount} times")


def duration(seconds: float) -> str:
    """Return a span in the two units a person would say: 0.26s, 8s, 4m05s, 3h20, 5.2 days."""
    if seconds < 9.95:
        return f"{seconds:.2g}s"
    if seconds >= MAX_HOURS * 3600:
        return f"{seconds / 86400:.1f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
