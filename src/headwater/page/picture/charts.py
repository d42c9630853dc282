"""Charts as plotly specifications: plain values, with colours named after the page's palette.

A colour is written "@name" and looked up in the style sheet by the page's script, so that a chart follows light,
dark and print like the text around it. plotly's own graph objects are not used: checking them takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from headwater.page.picture.blocks import Block, chart_text
from headwater.runs.run_data import Points

Spec = dict[str, Any]
NARROW_DECADES = 1.8
_AXIS: Spec = {"gridcolor": "@grid", "linecolor": "@axis", "zeroline": False, "nticks": 7, "exponentformat": "B"}


def line(name: str, curve: Points, color: str, *, width: float = 2, **more: Any) -> Spec:
    """Return one curve; `more` goes into the trace as it is, so it must hold no text of the run's."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": chart_text(name),
        "x": [x for x, _ in curve],
        "y": [y for _, y in curve],
        "line": {"color": f"@{color}", "width": width, **more.pop("stroke", {})},
        "hovertemplate": "%{y:.3f}",
        **more,
    }


def level(name: str, y: float, xs: Sequence[float], color: str, dash: str = "dash") -> Spec:
    """Return a horizontal line from the first to the last of `xs`."""
    ends = [(min(xs), y), (max(xs), y)]
    return line(name, ends, color, width=1.5, stroke={"dash": dash}, hoverinfo="skip", hovertemplate=None)


def log_y(values: Sequence[float]) -> Spec:
    """Return a logarithmic y axis for these values; what isn't positive has no place on it."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    room = 0.06 * (high - low or 1)
    # of more than a decade plotly labels 1, 2 and 5 where a tick has 0.3 of one, else every number, which overlap
    few = {"nticks": int((high - low + 2 * room) / 0.31)} if high - low > 0.9 else {}
    return {"type": "log", "range": [low - room, high + room], "tickformat": "~g", **few}


def _x_axis(xs: Sequence[float], is_log: bool, is_small: bool) -> Spec:
    """Return the x axis for these values; a linear one begins at 0. A small one is linear below two powers of ten."""
    positive = [x for x in xs if x > 0] or [1.0]
    low, high = math.log10(min(positive)), math.log10(max(positive))
    room, num_ticks = 0.03 * (high - low or 1), 3 if is_small else 6
    if is_small:  # plotly would label one power of ten, or every multiple of it
        is_log = is_log and math.floor(high) > math.ceil(low)
    elif is_log and high - low < NARROW_DECADES:
        num_ticks //= 2  # of so few plotly labels every multiple of a power of ten, and the higher ones overlap
    return {
        **_AXIS,
        "type": "log" if is_log else "linear",
        "range": [low - room, high + room] if is_log else [0, 1.02 * max(positive)],
        **({"dtick": 1} if is_small and is_log else {"nticks": num_ticks}),
        "tickformat": "~s",
        "tickangle": 0,
        "showgrid": False,
        "showline": True,
        "spikecolor": "@axis",
        "spikethickness": 1,
        "hoverformat": ",.0f",
        "unifiedhovertitle": {"text": "%{x:,.0f} tokens"},
    }


def _axis_title(text: str) -> Spec:
    return {"automargin": True, "title": {"text": chart_text(text), "standoff": 8, "font": {"size": 12}}}


def layout(
    traces: list[Spec], y: str, x: str = "tokens seen", *, log_x: bool = False, is_small: bool = False, **more: Any
) -> Spec:
    """Return axes with the titles `x` and `y`."""
    xs = [x for trace in traces for x in trace["x"]]
    return {
        "xaxis": _x_axis(xs, log_x, is_small) | _axis_title(x),
        "yaxis": _AXIS | _axis_title(y) | more.pop("yaxis", {}),
        "margin": {"l": 8, "r": 14, "t": 6, "b": 8, "pad": 4},
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@axis", "font": {"color": "@ink"}, "namelength": -1},
        "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": "@muted"},
        **more,
    }


def chart(title: str, note: Any, summary: str, traces: list[Spec], chart_layout: Spec, height: str = "small") -> Block:
    """Return the block that plotly draws: `summary` says in words what it shows; `height` is small, medium or tall."""
    drawn = {"data": traces, "layout": chart_layout, "height": height}
    return {"kind": "chart", "title": title, "note": note, "summary": summary, **drawn}
