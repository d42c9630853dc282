"""A time cut into its kinds of work: one bar, and a legend that names each piece."""

from __future__ import annotations

from collections.abc import Callable

from headwater.report.chart import series
from headwater.report.markup import Html, render, tag
from headwater.report.numbers import duration, percent


def time_bar(split: dict[str, float], show: Callable[[float], str] = duration) -> Html:
    """Return the bar of seconds by kind of work, and its legend, written by `show`; some time must be in it."""
    whole_time = sum(split.values())
    pieces, legend, left = [], [], 0.0
    for index, (kind, seconds) in enumerate(split.items()):
        width, share = 100 * seconds / whole_time, percent(seconds / whole_time)
        words = tag("title", f"{kind}: {show(seconds)}, {share}")
        place = {"x": f"{left:.3f}%", "y": "0", "width": f"{width:.3f}%", "height": "100%"}
        pieces.append(tag("rect", words, class_=series(index), **place))
        chip = tag("span", class_=f"chip {series(index)}")
        legend.append(tag("li", chip, f"{kind} ", tag("b", show(seconds)), f" ({share})"))
        left += width
    bar = tag("svg", pieces, class_="bar", role="img", aria_label="time by kind of work")
    return render([bar, tag("ul", legend, class_="legend")])
