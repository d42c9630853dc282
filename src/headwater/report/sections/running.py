"""How the run went: speed, utilisation, gradients, and where the time and the energy went."""

from __future__ import annotations

from headwater.durations import duration
from headwater.numbers import MISSING, count, flop_rate, percent, significant
from headwater.report.chart import chart_card, layout, line, not_measured, plot, time_bar
from headwater.report.curves import Points, points, smooth, thin
from headwater.report.markup import Child, Html, card, section, tag
from headwater.report.measures import (
    median_of,
    median_share,
    no_utilisation,
    seconds_trained,
    stage_seconds,
    time_split,
    utilisation,
)
from headwater.report.run_data import RunData, amount, table
from headwater.report.sections.attempts import attempts, interventions


def running(run: RunData) -> Html:
    grid = tag("div", [_speed(run), _utilisation(run), _gradient(run), _lr(run)], class_="grid")
    return section("How it ran", "running", grid, _time(run), attempts(run), interventions(run))


def _speed(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "tokens_per_second")
    note = f"Tokens per second in each step; the median is {count(median_of(run, 'tokens_per_second'))}."
    return _curve_card("Throughput", note, curve, "series-1", "tokens per second")


def _utilisation(run: RunData) -> Html | None:
    peak, curve = utilisation(run)
    if not curve and no_utilisation(run) != MISSING:  # the figure at the top says why
        return None
    how = table(run.start, "device").get("peak_how") or "the largest rate of matrix products"
    note = f"Arithmetic of training; the median is {percent(median_share(curve))} of {flop_rate(peak)}, {how}."
    return _curve_card("Utilisation", note, curve, "series-3", "fraction of the peak", y_format=".0%")


def _gradient(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "grad_norm")
    return _curve_card("Gradient norm", "Before clipping.", curve, "series-4", "gradient norm")


def _lr(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "lr")
    if not curve:
        return not_measured("Learning rate", "the first step fills it.")
    traces = [line("learning rate", thin(curve), "series-2", hovertemplate="%{y:.4~g}")]
    summary = f"Learning rate over tokens, at most {significant(max(y for _, y in curve))}."
    chart_layout = layout(traces, "learning rate", yaxis={"rangemode": "tozero"})
    return chart_card("Learning rate", "Of the matrices.", plot(summary, traces, chart_layout, "small"))


def _curve_card(title: str, note: str, curve: Points, color: str, y_title: str, y_format: str = "") -> Html:
    """Return a chart of every step with its mean drawn over it."""
    if not curve:
        return not_measured(title, "the first timed step fills it.")
    hover = "%{y:.1%}" if y_format.endswith("%") else "%{y:.4~g}"
    traces = [
        line("each step", thin(curve), color, width=1, opacity=0.35, hovertemplate=hover),
        line("mean of ±5 %", thin(smooth(curve)), color, hovertemplate=hover),
    ]
    highest = sorted(y for _, y in curve)[int(0.995 * (len(curve) - 1))]
    y_axis = {"tickformat": y_format, "range": [0, 1.12 * highest or 1], "nticks": 5}
    summary = f"{title} over tokens; the last is {significant(curve[-1][1])}."
    return chart_card(
        title, note, plot(summary, traces, layout(traces, y_title, showlegend=False, yaxis=y_axis), "small")
    )


def _time(run: RunData) -> list[Child]:
    split, stages = time_split(run), stage_seconds(run)
    note = f"{duration(sum(stages.values()))} of timed work, from the text to the report."
    cards: list[Child] = [card("Time of all stages", note, time_bar(stages))] if stages else []
    if split:
        cards.append(
            card("Time of training", f"{duration(seconds_trained(run) or 0.0)} in all. {_energy(run)}", time_bar(split))
        )
    return cards


def _energy(run: RunData) -> str:
    finish = run.last("finish")
    energy = amount(finish, "energy_wh")
    if energy is None:
        return "Energy: not measured yet." if not run.is_finished else "Energy: not measured."
    how = finish.get("energy_how")
    return f"Energy: {significant(energy, 2)}\u00a0Wh" + (f"; {how}." if how else ".")
