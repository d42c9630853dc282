"""How it learnt: loss over tokens, and bits per byte on held-out text against simpler models and by source."""

from __future__ import annotations

import math

from headwater.report.chart import Spec, chart_card, label, layout, level, line, log_y, not_measured, plot, series
from headwater.report.curves import Points, on_log_axis, points, smooth, thin
from headwater.report.markup import Child, Html, tag
from headwater.report.measures import (
    baselines,
    bits_per_byte_curve,
    final_bits_per_byte,
    is_on_real_text,
    quality_curve,
)
from headwater.report.numbers import count, decimal, number, percent, whole
from headwater.report.run_data import RunData, amount, table

# two labels nearer than this share of the logarithmic axis would touch
_MIN_LABEL_GAP = 0.08
_PROSE = {"5-gram": "an interpolated 5-gram model"}
NO_VALIDATION = "no validation has been made; the first one, after `train.validate_every` steps, fills it."


def learning(run: RunData) -> Html:
    one_source = len(run.sources) == 1
    cards = [_loss(run), _against_baselines(run, wide=one_source), None if one_source else _by_source(run)]
    body = tag("div", cards, class_="grid")
    return tag("section", tag("h2", "How it learnt"), _lead(run), body, _measurements(run), id="learning")


def _lead(run: RunData) -> Child:
    score, on = final_bits_per_byte(run)
    if score is None:
        return None
    relations = [
        f"{_relation(score, value)} than {_PROSE.get(name, name)} ({decimal(value)})" for name, value in baselines(run)
    ]
    beside = f": {', '.join(relations)}" if relations else ""
    return tag("p", f"A byte of {on} costs the model {decimal(score)} bits{beside}.", class_="lead")


def _relation(score: float, baseline: float) -> str:
    return f"{percent(abs(score / baseline - 1), 0)} {'less' if score < baseline else 'more'}"


def _loss(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "loss")
    if not curve:
        return not_measured("Loss", "no step has been taken; the first ones fill it.", wide=True)
    smoothed = thin(smooth(curve))
    traces = [
        line("each step", thin(curve), "series-1", width=1, opacity=0.4),
        line("mean of ±5 %", smoothed, "series-1"),
    ]
    held_out = thin(points(run.events("validation"), "tokens_seen", "loss", "all"))
    if held_out:
        traces.append(line("held-out text", held_out, "series-2", **_marks("series-2")))
    last = smoothed[-1][1]
    summary = f"Training loss over tokens, from {decimal(curve[0][1])} down to {decimal(last)} nats a token."
    note = f"Nats per token, over the tokens seen. The mean of the last steps is {decimal(last)}."
    chart_layout = layout(traces, shapes=_resumes(run), yaxis={"range": _loss_range(curve)})
    return chart_card("Loss", note, plot(summary, traces, chart_layout, "tall"), wide=True, scale="linear")


def _marks(color: str, size: float = 5) -> Spec:
    return {"mode": "lines+markers", "marker": {"size": size, "color": f"@{color}"}}


def _loss_range(curve: Points) -> list[float]:
    """Return a range with room for the first loss and nearly all others: a bad step must not press the curve flat."""
    losses = sorted(y for _, y in curve)
    low, high = losses[0], max(losses[int(0.995 * (len(losses) - 1))], curve[0][1])
    room = 0.04 * (high - low or 1)
    return [low - room, high + room]


def _resumes(run: RunData) -> list[Spec]:
    """Return a faint upright line where the run was resumed."""
    seen = {amount(record, "step"): amount(record, "tokens_seen") for record in run.events("step")}
    places = [seen.get(amount(record, "step")) for record in run.events("resume")]
    stroke = {"color": "@axis", "width": 1, "dash": "dot"}
    return [{"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": stroke} for x in places if x]


def _against_baselines(run: RunData, wide: bool) -> Html:
    heading = "Bits per byte on real text" if is_on_real_text(run) else "Bits per byte on held-out text"
    curve = thin(on_log_axis(quality_curve(run)))
    if not curve:
        return not_measured(heading, NO_VALIDATION, wide=wide)
    traces = [line("this model", curve, "series-1", width=2.5, **_marks("series-1"))]
    levels = sorted(baselines(run), key=lambda item: item[1])
    for index, (name, value) in enumerate(levels):
        traces.append(level(name, value, [x for x, _ in curve], f"baseline-{index % 2 + 1}"))
    values = [y for _, y in curve] + [value for _, value in levels]
    y_axis = log_y(values)
    labels = _level_labels(levels, y_axis["range"][1] - y_axis["range"][0])
    text = "Held-out text, the almanac left out" if is_on_real_text(run) else "Held-out text"
    beside = "the dashed lines are what simpler models need for it" if levels else "no baseline is measured yet"
    summary = f"Bits per byte over tokens, ending at {decimal(curve[-1][1])}."
    chart_layout = layout(traces, log_x=True, annotations=labels, showlegend=False, yaxis=y_axis)
    note = f"{text}; lower is better; {beside}."
    return chart_card(heading, note, plot(summary, traces, chart_layout), wide=wide, scale="log")


def _level_labels(levels: list[tuple[str, float]], span: float) -> list[Spec]:
    """Return a label above each level, or below it where the next level is too near."""
    labels = []
    for index, (name, value) in enumerate(levels):
        above = levels[index + 1][1] if index + 1 < len(levels) else None
        is_crowded = above is not None and math.log10(above / value) < _MIN_LABEL_GAP * span
        text, color = f"{name} {decimal(value)}", f"baseline-{index % 2 + 1}"
        labels.append(label(text, math.log10(value), color, above=not is_crowded, at_left=True))
    return labels


def _by_source(run: RunData) -> Html:
    every = [(index, name, on_log_axis(bits_per_byte_curve(run, name))) for index, name in enumerate(run.sources)]
    curves = [(index, name, thin(curve)) for index, name, curve in every if curve]
    if not curves:
        return not_measured("Bits per byte by source", NO_VALIDATION)
    traces = [line(name, curve, series(index), **_marks(series(index), 4)) for index, name, curve in curves]
    ends = ", ".join(f"{name} {decimal(curve[-1][1])}" for _, name, curve in curves)
    chart_layout = layout(traces, log_x=True, yaxis=log_y([y for _, _, curve in curves for _, y in curve]))
    note = "Held-out documents of each source: how well each style is picked up."
    body = plot(f"Bits per byte by source, at the end: {ends}.", traces, chart_layout)
    return chart_card("Bits per byte by source", note, body, scale="log")


def _measurements(run: RunData) -> Child:
    """Return the validation figures as a table, for reading off and for those who can't see the charts."""
    records = run.events("validation")
    if not records:
        return None
    measured = {name for record in records for name in table(record, "bits_per_byte")}
    names = [name for name in ["all", *run.sources] if name in measured]
    heads = [tag("th", text, scope="col") for text in ["step", "tokens", *names]]
    rows = [
        tag(
            "tr",
            tag("th", whole(amount(record, "step")), scope="row"),
            tag("td", count(amount(record, "tokens_seen"))),
            [tag("td", decimal(amount(record, "bits_per_byte", name), 4)) for name in names],
        )
        for record in records
    ]
    rows += _final_row(run, names)
    body = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="numbers")
    summary = tag("summary", "Every validation, in bits per byte")
    return tag("details", summary, tag("div", body, class_="scroll"), class_="card")


def _final_row(run: RunData, names: list[str]) -> list[Html]:
    """Return the row of the evaluation after training, which scores all held-out text and not a sample of it."""
    scores = table(run.evaluation, "bits_per_byte")
    if not scores:
        return []
    head = tag("th", "at the end, all held-out text", scope="row", colspan=2)
    return [tag("tr", head, [tag("td", decimal(number(scores.get(name)), 4)) for name in names])]
