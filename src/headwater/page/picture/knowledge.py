"""What each stage after the first changed: which facts a model says, invents and still holds, stage by stage."""

from __future__ import annotations

from typing import Any

from headwater.core.numbers import percent, whole
from headwater.core.records import Object, amount, entries
from headwater.page.picture.blocks import Block, Words, card, chart_text, data_table, mark, section, series, text
from headwater.page.picture.charts import Spec, chart, layout, line
from headwater.runs.run_data import RunData

SHOWN = (
    "known facts as prose",
    "known facts never named, new phrasings",
    "made-up facts never named",
    "made-up facts never named: wrong answers",
)
"Rows of the table that the picture has, too."
_LEAD = (
    "Capitals asked as a user asks: of real countries, which the base has read of, and of made-up ones, of which no "
    "text tells. Tuning may name those of one half of each, and never those of the other. In brackets the interval of "
    "95 %, and the number of questions. A base doesn't answer in the form that is asked for: nothing of it counts."
)


def knowledge(run: RunData) -> Block | None:
    """Return the part, or None for a run whose knowledge wasn't examined."""
    stages, rows = entries(run.knowledge, "stages"), entries(run.knowledge, "table")
    if not stages or not rows:
        return None
    parts = [text("lead", _LEAD), _picture(stages, rows), _table(stages, rows)]
    return section("knowledge", "What each stage changed", parts)


def _values(row: Object, num_stages: int) -> list[Object]:
    values = row.get("values")
    found = [each if isinstance(each, dict) else {} for each in values] if isinstance(values, list) else []
    return (found + [{}] * num_stages)[:num_stages]


def _table(stages: list[Object], rows: list[Object]) -> Block:
    body = [[str(row.get("measure")), *map(_cell, _values(row, len(stages)))] for row in rows]
    bits = [amount(stage, "bits_per_byte") for stage in stages]
    body.append(["bits per byte of the first run's held-out text", *("–" if b is None else f"{b:.3f}" for b in bits)])
    heads = [f"{stage.get('stage')}: {stage.get('run')}" for stage in stages]
    return card(None, None, data_table(["", *heads], body))


def _cell(value: Object) -> Words:
    share, low, high, num = (amount(value, name) for name in ("value", "low", "high", "num"))
    if share is None or low is None or high is None or num is None:
        return "–"
    return [percent(share), " ", mark("where", f"({100 * low:.0f}–{100 * high:.0f}, {whole(num)})")]


def _picture(stages: list[Object], rows: list[Object]) -> Block:
    by_measure = {str(row.get("measure")): row for row in rows}
    traces: list[Spec] = []
    for index, measure in enumerate(name for name in SHOWN if name in by_measure):
        values = _values(by_measure[measure], len(stages))
        known = [(at, each) for at, each in enumerate(values) if amount(each, "value") is not None]
        curve = [(float(at), amount(each, "value") or 0.0) for at, each in known]
        ends = {name: [abs((amount(each, "value") or 0.0) - (amount(each, name) or 0.0)) for _, each in known]
                for name in ("high", "low")}  # fmt: skip
        bars: Any = {"type": "data", "array": ends["high"], "arrayminus": ends["low"], "symmetric": False}
        marks: Spec = {"mode": "lines+markers", "marker": {"size": 7, "color": f"@{series(index)}"}, "error_y": bars}
        traces.append(line(measure, curve, series(index), hovertemplate="%{y:.1%}", **marks))
    names = [chart_text(str(stage.get("stage"))) for stage in stages]
    axis = {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "range": [-0.3, len(names) - 0.7],
        "fixedrange": True,
    }
    axes = layout(traces, "share of answers", "stage", yaxis={"tickformat": ".0%", "range": [-0.03, 1.03]})
    axes["xaxis"] = axes["xaxis"] | axis
    last = ", ".join(f"{trace['name']} {trace['y'][-1]:.0%}" for trace in traces if trace["y"])
    summary = f"Facts by stage, shares of right answers; after the last: {last}."
    note = "Later stages change what is said, not what is known."
    return chart("Facts by stage", note, summary, traces, axes, "medium") | {"key": "knowledge"}
