"""The charts of a run: each is made of curves, and None where those have no point to draw."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np

from headwater.core.numbers import decimal, percent, significant
from headwater.core.records import Record, amount
from headwater.page.picture.blocks import (
    Block,
    Spec,
    Words,
    chart,
    chart_text,
    layout,
    level,
    line,
    log_y,
    not_measured,
    series,
)
from headwater.runs.outcome import UNITS, Band, band
from headwater.runs.run_data import History, Points, RunData, on_log_axis, points, smooth, thin

PROBES = {
    "capitals": ("Capitals", "A country's capital is likelier than all others, in phrasings never trained on."),
    "agreement": ("Agreement", "Of two sentences, the one whose verb agrees is likelier."),
    "sums": ("Arithmetic", "The right result is likeliest, for sums never trained on."),
    "cause": ("Cause and effect", "Of two endings, the one that follows is likelier."),
    "words": (
        "Words of the text",
        "Of four words that a held-out passage has said, the one that comes next is likeliest.",
    ),
}
MAX_MARK_TEXT, MAX_NAME, MAX_PROBE_NAME = 200, 60, 80


def drawn(found: Block | None, key: str, title: Words, what: str, /, **more: Words) -> Block:
    """Return a chart under its key; of one without a point the card in its place, which says what fills it."""
    return found | {"key": key} | more if found else not_measured(title, what)


MARKS = {  # by event: the words of the legend, plotly's symbol, the colour
    "checkpoint": ("saved", "circle-open", "series-6"),
    "resume": ("resumed", "triangle-right", "series-3"),
    "rollback": ("rolled back", "triangle-left", "series-4"),
    "skipped": ("step skipped", "x", "series-5"),
}
STEP_CHARTS = {  # by field of a step's record: title, note, colour, what the y axis measures
    "tokens_per_second": ("Throughput", "Tokens per second in each step.", "series-1", "tokens per second"),
    "mfu": ("Utilisation", "Arithmetic of training.", "series-3", "fraction of the peak"),
    "grad_norm": ("Gradient norm", "Before clipping.", "series-4", "gradient norm"),
    "reward": ("Reward", "Mean of the answers of each step.", "series-1", "reward"),
    "kl_to_start": ("Distance from the start", "KL divergence of an answer.", "series-4", "nats per answer"),
}


def tokens_per_step(log: History) -> float:
    """Return the tokens of a step, by the last one; 0 before the first."""
    if not log.num_steps or math.isnan(seen := log.columns["tokens_seen"][-1]):
        return 0.0
    return seen / max(1, log.columns["step"][-1])


def memory_peaks(log: History) -> Points:
    """Return the most memory that a process of the first rank had held by each save, in GB, over tokens seen."""
    saves, tokens = points(log.events.get("checkpoint", []), "step", "peak_memory_bytes"), tokens_per_step(log)
    peaks = accumulate((peak for _, peak in saves), max)  # an attempt's process begins at nothing
    return [(step * tokens, peak / 1e9) for (step, _), peak in zip(saves, peaks, strict=True)]


def marked(color: str, size: float = 5) -> Spec:
    return {"mode": "lines+markers", "marker": {"size": size, "color": f"@{color}"}}


def every_step(curve: Points, color: str, opacity: float, **more: Any) -> Spec:
    """Return the faint trace of each step."""
    return line("each step", thin(curve), color, width=1, opacity=opacity, **more)


def loss_chart(log: History, curve: Points, held_out: Points, between: tuple[float, float]) -> Block | None:
    """Return the loss of each step and of validations, with what happened on it."""
    if not curve:
        return None
    smoothed = thin(smooth(curve))
    traces = [every_step(curve, "series-1", 0.4), line("mean of ±5 %", smoothed, "series-1")]
    if held_out:
        traces.append(line("validation", thin(held_out), "series-2", **marked("series-2")))
    traces += mark_traces(log, smoothed, between)
    last = decimal(smoothed[-1][1])
    return chart(
        "Loss",
        f"The mean of the last 5 % of the steps is {last} nats per token.",
        f"Training loss over tokens, from {decimal(curve[0][1])} down to {last} nats per token.",
        traces,
        layout(traces, "nats per token", yaxis={"range": loss_range(curve)}),
        "tall",
    )


def mark_traces(log: History, curve: Points, between: tuple[float, float] = (-math.inf, math.inf)) -> list[Spec]:
    """Return what happened between steps on the curve of the loss: saves, resumes, rollbacks and skipped steps."""
    traces, tokens, (low, high) = [], tokens_per_step(log), between
    for event, (name, symbol, color) in MARKS.items():
        records = [each for each in log.events.get(event, []) if low <= each["step"] * tokens <= high]
        if records:
            reasons = [record.get("reason") or record.get("from") or "" for record in records]
            said = [
                f"step {each['step']:.0f}: {name}{f' ({why})' if why else ''}" for each, why in zip(records, reasons)
            ]
            places = [(x := record["step"] * tokens, _height(curve, x)) for record in records]
            # what a save says is that of its neighbours: it would hide the loss under the pointer
            is_save = event == "checkpoint"
            hover = {"hoverinfo": "skip", "hovertemplate": None} if is_save else {"hovertemplate": "%{text}"}
            marker = {"symbol": symbol, "size": 6 if is_save else 9, "color": f"@{color}", "line": {"width": 1.5}}
            text = [chart_text(words[:MAX_MARK_TEXT]) for words in said]
            traces.append(line(name, places, color, mode="markers", marker=marker, text=text, **hover))
    return traces


def _height(curve: Points, x: float) -> float:
    """Return the curve's height at `x`, of the nearest of its points before it."""
    return curve[max(0, bisect_right(curve, x, key=itemgetter(0)) - 1)][1]


def loss_range(curve: Points) -> list[float]:
    """Return a range with room for the first loss and nearly all others: a bad step must not press the curve flat."""
    low, high = min(y for _, y in curve), max(_nearly_highest(curve), curve[0][1])
    room = 0.04 * (high - low or 1)
    return [low - room, high + room]


def _nearly_highest(curve: Points) -> float:
    """Return what 99.5 % of the values don't exceed; of up to 200 the highest."""
    return float(np.quantile([y for _, y in curve], 0.995, method="higher"))


def forecast_band(forecast: Record) -> tuple[str, str, Band] | None:
    """Return a forecast's field of validation records, its unit in words, and P10, P50, P90; None without a loss."""
    unit = forecast.get("loss_unit")
    found = band(forecast, "loss")
    return (*UNITS[unit], found) if isinstance(unit, str) and unit in UNITS and found else None


def band_traces(xs: tuple[float, float], band: Band) -> list[Spec]:
    """Return the traces of a forecast's band and of its median, between two values of x."""
    edge: dict[str, Any] = {"width": 0, "showlegend": False, "hoverinfo": "skip", "hovertemplate": None}
    p10, p50, p90 = band
    return [
        line("P10", [(x, p10) for x in xs], "series-2", **edge),
        line("P90", [(x, p90) for x in xs], "series-2", **edge, fill="tonexty", opacity=0.3),
        line("forecast, P10 to P90", [(x, p50) for x in xs], "series-2", width=1.5, stroke={"dash": "dash"}),
    ]


def held_out_chart(validations: Points, unit: str, forecast: Band | None, num_tokens: float) -> Block | None:
    """Return the loss of validations beside the band in which it was forecast to end."""
    curve = thin(on_log_axis(validations))
    if not curve:
        return None
    traces = [line("validation", curve, "series-1", width=2.5, **marked("series-1"))]
    if forecast is None:
        axis, note = log_y([y for _, y in curve]), "Lower is better; the loss was not forecast."
        summary = f"{unit.capitalize()} of validations over tokens, ending at {decimal(curve[-1][1])}."
    else:
        p10, p50, p90 = forecast
        traces = band_traces((curve[0][0], max(curve[-1][0], num_tokens)), forecast) + traces
        lowest, span = min(p10, *(y for _, y in curve)), max(6 * (p90 - p10), 0.25 * p50)
        axis = {"range": [lowest - 0.06 * span, max(lowest + span, curve[-1][1] + 0.1 * span)]}
        note = "The band is for all held-out text, at the end. The first losses are above the picture."
        low, high = significant(p10, 4), significant(p90, 4)
        summary = f"Loss of validations over tokens, ending beside a band of {low} to {high}."
    axes = layout(traces, unit, log_x=True, yaxis=axis)
    title = "Loss on held-out text" + (", and its forecast" if forecast else "")
    return chart(title, note, summary, traces, axes, "medium")


def step_chart(field: str, curve: Points, note: str | None = None, x: str = "tokens seen") -> Block | None:
    """Return a measure of every step, one of STEP_CHARTS, with its mean drawn over it."""
    if not curve:
        return None
    title, usual_note, color, y = STEP_CHARTS[field]
    hover, y_format = ("%{y:.1%}", ".0%") if field == "mfu" else ("%{y:.4~g}", "")
    traces = [
        every_step(curve, color, 0.35, hovertemplate=hover),
        line("mean of ±5 %", thin(smooth(curve)), color, hovertemplate=hover),
    ]
    low, high = min(0.0, *(value for _, value in curve)), max(0.0, _nearly_highest(curve))
    room = 0.12 * (high - low or 1)
    y_axis = {"tickformat": y_format, "range": [low and low - room, high + room], "nticks": 5}
    summary = f"{title} over {x}; the last is {significant(curve[-1][1])}."
    axes = layout(traces, y, x, showlegend=False, yaxis=y_axis)
    return chart(title, note or usual_note, summary, traces, axes)


def lr_chart(curve: Points) -> Block | None:
    if not curve:
        return None
    traces = [line("learning rate", thin(curve), "series-2", hovertemplate="%{y:.4~g}")]
    summary = f"Learning rate over tokens, at most {significant(max(y for _, y in curve))}."
    axes = layout(traces, "learning rate", yaxis={"rangemode": "tozero"})
    return chart("Learning rate", "Of the matrices.", summary, traces, axes)


def peak_caption(start: Record) -> str:
    """Return whose peak of memory a run's records have, by the record of its start."""
    return "peak of the first rank" if (amount(start, "plan", "ranks") or 1) > 1 else "peak"


def memory_chart(peaks: Points, forecast: Band | None, start: Record) -> Block | None:
    """Return the most memory that had been held at each save, in GB, beside its forecast."""
    if not peaks:
        return None
    traces = [line("peak so far", peaks, "series-3", **marked("series-3"))]
    if forecast is not None:
        ends = (0.0, max(x for x, _ in peaks))
        traces = band_traces(ends, forecast) + traces
    highest = max([y for _, y in peaks] + ([forecast[2]] if forecast else []))
    of_forecast = "; the band is its forecast" if forecast else ""
    note = f"{peak_caption(start).capitalize()} so far, at each save{of_forecast}."
    summary = f"Peak memory over tokens, {significant(peaks[-1][1])} GB at the last save."
    axes = layout(traces, "GB", showlegend=False, yaxis={"range": [0, 1.12 * highest], "nticks": 5})
    return chart("Memory", note, summary, traces, axes)


def run_charts(run: RunData, between: tuple[float, float] | None = None) -> dict[str, Block | None]:
    """Return the charts that every run has, by name; those of steps hold what lies `between` two amounts of tokens."""
    log, validations = run.log, run.events("validation")
    places = log.between(*between) if between else (0, None)
    low, high = in_sight = between or (-math.inf, math.inf)
    field, unit, expected = forecast_band(run.forecast) or ("bits_per_byte", "bits per byte", None)
    losses = [point for point in points(validations, "tokens_seen", "loss", "all") if low <= point[0] <= high]
    measured = points(validations, "tokens_seen", field, "all")
    return {
        "loss": loss_chart(log, log.curve("loss", *places), losses, in_sight),
        "held_out": held_out_chart(measured, unit, expected, amount(run.start, "num_tokens") or 0.0),
        **{name: step_chart(name, log.curve(name, *places)) for name in ("tokens_per_second", "grad_norm")},
        # a run that rewards train has steps without tokens
        **{name: step_chart(name, log.curve(name, x="step"), x="step") for name in ("reward", "kl_to_start")},
        "lr": lr_chart(log.curve("lr", *places)),
        "memory": memory_chart(memory_peaks(log), band(run.forecast, "memory_gb"), run.start),
    }


def probe_chart(name: str, curve: Points, latest: Record, color: str) -> Block | None:
    """Return the fraction right of a probe; `latest` has the last score and what chance alone gets."""
    title, what = PROBES.get(name, (name.replace("_", " ")[:MAX_PROBE_NAME], "Fraction right."))
    curve, chance = thin(on_log_axis(curve)), amount(latest, "chance")
    if not curve:
        return None
    traces = [line(title, curve, color, hovertemplate="%{y:.1%}", **marked(color))]
    if chance is not None:
        traces.append(level("chance", chance, [x for x, _ in curve], "muted", "dot"))
        what += f" Chance: {percent(chance, 0 if chance >= 0.1 else 1)}."
    y_axis = {"range": [-0.03, 1.05], "tickformat": ".0%", "dtick": 0.25}
    summary = f"{title}: {percent(amount(latest, 'right'))} right at the end."
    axes = layout(traces, "right", log_x=True, is_small=True, showlegend=False, yaxis=y_axis)
    return chart(title, what, summary, traces, axes)


def overlaid(
    title: str,
    note: str,
    curves: dict[str, Points],
    y: str,
    smoothed: bool = False,
    levels: dict[str, tuple[float, str]] | None = None,
) -> Block | None:
    """Return curves of several runs or sources over each other, by name, those without a point missing.

    `levels` are values with their colours, by name.
    """
    traces, ends = list[Spec](), list[str]()
    for index, (name, curve) in enumerate(curves.items()):
        if placed := on_log_axis(curve):
            color = series(index)
            shown = thin(smooth(placed)) if smoothed else thin(placed)
            traces.append(line(name[:MAX_NAME], shown, color, **({} if smoothed else marked(color, 4))))
            ends.append(f"{name[:MAX_NAME]} {decimal(shown[-1][1])}")
    if not traces:
        return None
    xs = [x for trace in traces for x in trace["x"]]
    traces += [level(name, value, xs, color) for name, (value, color) in (levels or {}).items()]
    axes = layout(traces, y, log_x=True, yaxis=log_y([value for trace in traces for value in trace["y"]]))
    summary = f"{title} over tokens, at the end: {', '.join(ends)}."
    return chart(title, note, summary, traces, axes, "medium")
