"""Charts as plotly specifications: plain values, with colours named after the page's palette.

A colour is written "@name" and looked up in the style sheet by the page's script, so that a chart follows light,
dark and print like the text around it. plotly's own graph objects are not used: checking them takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.report.curves import Points, log_ticks
from headwater.report.markup import Child, Html, chart_text, data_block, tag
from headwater.report.numbers import count

Spec = dict[str, Any]
NUM_SERIES = 8


def series(index: int) -> str:
    """Return the name of the palette's colour for the source or ability of this number."""
    return f"series-{index % NUM_SERIES + 1}"


def line(name: str, curve: Points, color: str, *, width: float = 2, **more: Any) -> Spec:
    """Return one curve; `more` goes into the trace as it is, so it must hold no text of the run's."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": chart_text(name),
        "x": [x for x, _ in curve],
        "y": [y for _, y in curve],
        "line": {"color": f"@{color}", "width": width, **more.pop("stroke", {})},
        "hovertemplate": "%{y:.4~g}",
        **more,
    }


def level(name: str, y: float, xs: Sequence[float], color: str, dash: str = "dash") -> Spec:
    """Return a horizontal line from the first to the last of `xs`."""
    ends = [(min(xs), y), (max(xs), y)]
    return line(name, ends, color, width=1.5, stroke={"dash": dash}, hoverinfo="skip", hovertemplate=None)


def label(text: str, y: float, color: str, *, above: bool = True, at_left: bool = False) -> Spec:
    """Return a label for a level, at the right end of the chart whatever the scale of its x axis."""
    return {
        "text": chart_text(text),
        "xref": "paper",
        "x": 0.0 if at_left else 1.0,
        "xanchor": "left" if at_left else "right",
        "y": y,
        "yanchor": "bottom" if above else "top",
        "showarrow": False,
        "font": {"size": 12, "color": f"@{color}"},
    }


def layout(traces: list[Spec], *, log_x: bool = False, y_format: str = "", **more: Any) -> Spec:
    """Return axes for curves over tokens. Ticks of a logarithmic axis are chosen here, at round numbers."""
    xs = [x for trace in traces for x in trace["x"]]
    ticks = log_ticks(xs)
    axis: Spec = {"gridcolor": "@grid", "linecolor": "@axis", "zeroline": False, "automargin": True}
    x_axis: Spec = {
        **axis,
        "type": "log" if log_x else "linear",
        "tickmode": "array" if log_x else "auto",
        "tickvals": ticks,
        "ticktext": [count(tick) for tick in ticks],
        "showgrid": False,
        "showline": True,
        "exponentformat": "B",
        "nticks": 7,
        "hoverformat": ",.0f",
        "unifiedhovertitle": {"text": "%{x:,.0f} tokens"},
    }
    return {
        "xaxis": x_axis,
        "yaxis": {**axis, "tickformat": y_format, "nticks": 7, "exponentformat": "B"} | more.pop("yaxis", {}),
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8, "pad": 4},
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@axis", "font": {"color": "@ink"}, "namelength": -1},
        "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inherit", "size": 12, "color": "@muted"},
        **more,
    }


def plot(summary: str, traces: list[Spec], chart_layout: Spec, height: str = "medium") -> Html:
    """Return the place where the page's script draws a chart, with its specification beside it.

    `summary` says in words what the chart shows, for those who can't see it; `height` is small, medium or tall.
    """
    place = tag("div", class_=f"plot {height}", role="img", aria_label=summary)
    return Html(place + data_block({"data": traces, "layout": chart_layout}))


def chart_card(title: Child, note: Child, body: Child, *, wide: bool = False, scales: bool = False) -> Html:
    """Return a figure with its heading; `scales` adds the switch between a linear and a logarithmic x axis."""
    switch = tag(
        "div",
        tag("button", "linear", type="button", data_scale="linear", aria_pressed="true"),
        tag("button", "log", type="button", data_scale="log", aria_pressed="false"),
        class_="scales",
        role="group",
        aria_label="scale of the horizontal axis",
        hidden=True,
    )
    caption = tag("figcaption", tag("h3", title), switch if scales else None, tag("p", note) if note else None)
    return tag("figure", caption, body, class_="card chart wide" if wide else "card chart")


def not_measured(title: Child, what: str, *, wide: bool = False) -> Html:
    """Return the card that stands where a chart will be."""
    return chart_card(title, None, tag("p", f"Not measured yet: {what}", class_="missing"), wide=wide)
