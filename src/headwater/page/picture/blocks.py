"""The blocks that the picture of a run is made of: plain values for JSON, which the page's script draws.

A run's name, a document's title, a setting and above all what a model wrote are hostile text. It stays text here: the
script puts it into text nodes. Only labels of charts are markup to plotly, and escaped by `chart_text`.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from headwater.core.numbers import duration, percent
from headwater.core.printable import printable
from headwater.runs.run_data import Points

Block = dict[str, Any]
Words = Any  # a text, a mark, None, or a list of these
MAX_TEXT = 3000
"Characters of any one text that are shown."
NUM_SERIES = 8
LEAST_SHARE = 0.001
"Of a time that a legend says in percent."


def series(index: int) -> str:
    """Return the name of the palette's colour for the source or probe of this number."""
    return f"series-{index % NUM_SERIES + 1}"


def mark(kind: str, *text: Words) -> Block:
    """Return words set apart: `kind` is code, b, q, strong, or the class of a span."""
    return {"mark": kind, "text": list(text)}


def text(kind: str, *words: Words) -> Block:
    """Return a paragraph: `kind` is lead, or missing in the place of something that isn't there."""
    return {"kind": "text", "class": kind, "text": list(words)}


def missing(why: str) -> Block:
    """Return the card in the place of something that isn't there; `why` says what fills it."""
    return text("missing card", why)


def body_of(blocks: Iterable[Any]) -> list[Block]:
    """Return blocks, and the members of lists of blocks, without those that are None."""
    found: list[Block] = []
    for block in blocks:
        found += body_of(block) if isinstance(block, list) else [block] if block else []
    return found


def section(place: str, title: str, *body: Any, link: str | None = None) -> Block:
    """Return a part of the page; `place` is what the `link` at its top leads to."""
    return {"kind": "section", "place": place, "title": title, "link": link or title, "body": body_of(body)}


def card(title: Words, note: Words, *body: Any, kind: str = "card") -> Block:
    """Return blocks with a heading and a note under it."""
    return {"kind": "card", "class": kind, "title": title, "note": note, "body": body_of(body)}


def not_measured(title: Words, what: str) -> Block:
    """Return the card that stands where a chart will be; `what` says why it is empty and what fills it."""
    return card(title, None, text("missing", f"Not measured yet: {what}"), kind="card chart")


def fold(title: Words, note: str, *body: Any, kind: str = "card") -> Block:
    """Return blocks that show their heading until they are opened."""
    return {"kind": "fold", "class": kind, "title": title, "note": note, "body": body_of(body)}


def grid(cards: Sequence[Any], kind: str = "grid") -> Block:
    return {"kind": "grid", "class": kind, "body": body_of(cards)}


def data_table(
    heads: Sequence[str], rows: Iterable[Sequence[Words] | tuple[str, Sequence[Words]]], words: Sequence[str] = ()
) -> Block:
    """Return a table of numbers; on a narrow screen each row becomes a block with the head beside each cell.

    A row is its cells, or (class of the row, its cells); the columns named in `words` hold text.
    """
    pairs = [row if isinstance(row, tuple) else (None, row) for row in rows]
    found = [{"class": kind, "cells": list(cells)} for kind, cells in pairs]
    return {"kind": "table", "class": "numbers stacked", "heads": list(heads), "rows": found, "words": list(words)}


def items(kind: str, found: Sequence[Words]) -> Block:
    """Return a list; `kind` is its class."""
    return {"kind": "items", "class": kind, "items": list(found)}


def written(when: str, given: str, more: str) -> Words:
    """Return a text of a list with what was given of it; it keeps its lines, in one width where they are indented."""
    whole = given + more
    kind = "text indented" if "\n " in whole or "\n\t" in whole else "text"
    return [mark("when", when), mark(kind, mark("given", given) if given else None, more)]


def stacked_bar(
    parts: Sequence[tuple[int, str, float]], show: Callable[[float], str], label: str, name: str | None = None
) -> Block:
    """Return amounts as one bar; a part is the number of its colour, its name and its amount, written by `show`."""
    total = sum(value for _, _, value in parts)
    shares = [(series(index), value / (total or 1), f"{each}: {show(value)}") for index, each, value in parts]
    pieces = [{"class": kind, "share": share, "text": f"{said}, {percent(share)}"} for kind, share, said in shares]
    return {"kind": "bar", "summary": label, "parts": pieces, "title": name, "note": show(total) if name else None}


def legend(words: Sequence[Words]) -> Block:
    """Return what each colour stands for, in the order of the palette."""
    return items("legend", [[mark(f"chip {series(index)}"), each] for index, each in enumerate(words)])


def time_bar(split: dict[str, float]) -> list[Block]:
    """Return the bar of seconds by kind of work, and its legend; some time must be in it."""
    whole = sum(split.values())
    shares = {kind: time / whole for kind, time in split.items()}
    words = [
        [f"{kind} ", mark("b", duration(time)), f" ({percent(shares[kind])})" if shares[kind] >= LEAST_SHARE else None]
        for kind, time in split.items()
    ]
    parts = [(index, kind, time) for index, (kind, time) in enumerate(split.items())]
    return [stacked_bar(parts, duration, "time by kind of work"), legend(words)]


def shown(value: Any) -> Any:
    """Return a picture of which every text is cut, and has what could steer a reader's display as escapes."""
    if isinstance(value, str):
        return value[:MAX_TEXT] if value[:MAX_TEXT].isprintable() and len(value) <= MAX_TEXT else _cut(value)
    if isinstance(value, dict):
        return {name: shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple) and not (value and isinstance(value[0], float)):
        return [shown(inner) for inner in value]
    return value


def _cut(whole: str) -> str:
    more = f" … ({len(whole) - MAX_TEXT:,} more characters)" if len(whole) > MAX_TEXT else ""
    return printable(whole[:MAX_TEXT], keep="\n\t") + more


def as_json(value: Any) -> str:
    """Return JSON in ASCII, in which no text can end the element of a page that holds it."""
    found = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        found = found.replace(character, f"\\u{ord(character):04x}")
    return found


def chart_text(label: str) -> str:
    """Return `label` safe in a chart: plotly reads tags and entities in its labels as markup."""
    return html.escape(printable(label, keep="\n\t"), quote=False)


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
