"""How it learnt: loss over tokens, and bits per byte on held-out text against simpler models and by source."""

from __future__ import annotations

from headwater.report.chart import Spec, chart_card, label, layout, level, line, not_measured, plot, series
from headwater.report.curves import Points, points, smooth, thin
from headwater.report.markup import Child, Html, tag
from headwater.report.measures import bits_per_byte_curve, final_bits_per_byte, real_text_curve, yardsticks
from headwater.report.numbers import count, decimal, number, percent, whole
from headwater.report.run_data import RunData, amount, table

# two labels nearer than this share of the chart's height would touch
_MIN_LABEL_GAP = 0.07


def learning(run: RunData) -> Html:
    cards = [_loss(run), _against_yardsticks(run), _by_source(run)]
    body = tag("div", cards, class_="grid")
    return tag("section", tag("h2", "How it learnt"), _lead(run), body, _measurements(run), id="learning")


def _lead(run: RunData) -> Child:
    score, on = final_bits_per_byte(run)
    if score is None:
        return None
    text = f"A byte of {on} costs the model {decimal(score)} bits."
    for name, value in yardsticks(run):
        relation = f"{percent(1 - score / value, 0)} less than" if score < value else "no less than"
        text += f" That is {relation} {name} needs ({decimal(value)})."
    return tag("p", text, class_="lead")


def _loss(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "loss")
    if not curve:
        return not_measured("Loss", "no step has been taken.", wide=True)
    smoothed = thin(smooth(curve))
    traces = [
        line("each step", thin(curve), "series-1", width=1, opacity=0.35),
        line("mean of ±5 %", smoothed, "series-1"),
    ]
    validation = [
        {"tokens_seen": record.get("tokens_seen"), "loss": table(record, "loss").get("all")}
        for record in run.events("validation")
    ]
    held_out = thin(points(validation, "tokens_seen", "loss"))
    if held_out:
        marks = {"mode": "lines+markers", "marker": {"size": 6, "color": "@series-2"}}
        traces.append(line("held-out text", held_out, "series-2", **marks))
    last = smoothed[-1][1]
    summary = f"Training loss over tokens, from {decimal(curve[0][1])} down to {decimal(last)} nats a token."
    return chart_card(
        "Loss",
        f"Nats per token, over the tokens seen. The last steps' mean is {decimal(last)}.",
        plot(summary, traces, layout(traces, shapes=_resumes(run), **_loss_range(curve)), "tall"),
        wide=True,
        scales=True,
    )


def _loss_range(curve: Points) -> Spec:
    """Leave room for nearly all the losses: one bad step must not press the curve flat. It's reached by zooming."""
    losses = sorted(y for _, y in curve)
    low, high = losses[0], losses[min(len(losses) - 1, int(0.995 * len(losses)))]
    high = max(high, curve[0][1])
    room = 0.04 * (high - low or 1)
    return {"yaxis": {"range": [low - room, high + room]}}


def _resumes(run: RunData) -> list[Spec]:
    """Return a faint upright line where the run was resumed."""
    seen = {record.get("step"): number(record.get("tokens_seen")) for record in run.events("step")}
    places = [seen.get(record.get("step")) for record in run.events("resume")]
    stroke = {"color": "@axis", "width": 1, "dash": "dot"}
    return [
        {"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": stroke} for x in places if x
    ]


def _against_yardsticks(run: RunData) -> Html:
    name, curve = "real text", real_text_curve(run)
    if not curve:
        name, curve = "all held-out text", bits_per_byte_curve(run, "all")
    heading = "Bits per byte on real text" if name == "real text" else "Bits per byte on held-out text"
    if not curve:
        return not_measured(heading, "no validation has been made.")
    curve = thin(curve)
    marks = {"mode": "lines+markers", "marker": {"size": 6, "color": "@series-1"}}
    traces = [line("this model", curve, "series-1", width=2.5, **marks)]
    levels = sorted(yardsticks(run), key=lambda item: item[1])
    for index, (yardstick, value) in enumerate(levels):
        traces.append(level(yardstick, value, [x for x, _ in curve], f"yardstick-{index % 2 + 1}"))
    highest = max([y for _, y in curve] + [value for _, value in levels])
    lowest = min([y for _, y in curve] + [value for _, value in levels])
    labels = _level_labels(levels, highest - lowest)
    beside = "the same bytes squeezed by xz, and a 5-gram model counted on the same training tokens" if levels else ""
    note = "Held-out text, the almanac left out; lower is better." if name == "real text" else "Lower is better."
    note += f" Dashed: {beside}." if beside else " The yardsticks (xz, 5-gram) are not measured yet."
    summary = f"Bits per byte on {name} over tokens, ending at {decimal(curve[-1][1])}."
    chart_layout = layout(traces, annotations=labels, showlegend=False)
    return chart_card(heading, note, plot(summary, traces, chart_layout), scales=True)


def _level_labels(levels: list[tuple[str, float]], span: float) -> list[Spec]:
    labels = []
    for index, (name, value) in enumerate(levels):
        next_value = levels[index + 1][1] if index + 1 < len(levels) else None
        crowded = next_value is not None and span and (next_value - value) / span < _MIN_LABEL_GAP
        text = f"{name} {decimal(value)}"
        labels.append(label(text, value, f"yardstick-{index % 2 + 1}", above=not crowded))
    return labels


def _by_source(run: RunData) -> Html:
    curves = [(index, name, bits_per_byte_curve(run, name)) for index, name in enumerate(run.sources)]
    curves = [(index, name, thin(curve)) for index, name, curve in curves if curve]
    if not curves:
        return not_measured("Bits per byte by source", "no validation has been made.")
    traces = []
    for index, name, curve in curves:
        marks = {"mode": "lines+markers", "marker": {"size": 5, "color": f"@{series(index)}"}}
        traces.append(line(name, curve, series(index), **marks))
    summary = "Bits per byte by source, at the end: " + ", ".join(
        f"{name} {decimal(curve[-1][1])}" for _, name, curve in curves
    )
    note = "Held-out documents of each source: how well it has picked up each style."
    return chart_card("Bits per byte by source", note, plot(summary, traces, layout(traces)), scales=True)


def _measurements(run: RunData) -> Child:
    """Return the validation figures as a table, for reading off and for those who can't see the charts."""
    records = run.events("validation")
    if not records:
        return None
    names = [name for name in ["all", *run.sources] if any(name in table(record, "bits_per_byte") for record in records)]
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
    body = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="numbers")
    return tag(
        "details", tag("summary", "Every validation: bits per byte"), tag("div", body, class_="scroll"), class_="card"
    )
