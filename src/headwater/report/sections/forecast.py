"""What was forecast before the first step, and what became of it: table, pictures, score."""

from __future__ import annotations

from typing import Any

from headwater.plan.score import NOMINAL
from headwater.report.chart import Spec, chart_card, layout, line, plot
from headwater.report.curves import Points, on_log_axis, points, thin
from headwater.report.markup import Child, Html, tag
from headwater.report.numbers import duration, percent, plural, significant, time_unit
from headwater.report.outcome import UNITS, Outcome, mean_score, outcomes_of
from headwater.report.run_data import RunData, amount

_NO_FORECAST = (
    "No forecast: this run began without one. Every run that begins at its first step makes one by itself; "
    "`headwater plan RUN` shows what it would be."
)
_TIMED = [
    ("step", "seconds"),
    ("validation", "evaluation_seconds"),
    ("probes", "evaluation_seconds"),
    ("samples", "evaluation_seconds"),
    ("checkpoint", "seconds"),
]


def forecast(run: RunData) -> Html:
    found = outcomes_of(run)
    heading = tag("h2", "Forecast and fact")
    if not found:
        return tag("section", heading, tag("p", _NO_FORECAST, class_="missing card"), id="forecast")
    named = {outcome.quantity: outcome for outcome in found}
    cards = [_loss_card(run, named.get("loss")), _time_card(run, named.get("time"))]
    grid = tag("div", cards, class_="grid")
    return tag(
        "section", heading, tag("p", _lead(run), class_="lead"), _table(found), grid, _score(found), id="forecast"
    )


def _lead(run: RunData) -> str:
    made_at, version = run.forecast.get("made_at"), run.forecast.get("headwater")
    when = str(made_at).replace("T", " ").replace("+00:00", " UTC")
    by = f"Made {when}, before the first step, by headwater {version}. " if made_at and version else ""
    return (
        f"{by}A fact should fall between P10 and P90 in {percent(NOMINAL, 0)} of cases. "
        "Time and energy are those of training, without preparation of the text and what comes after."
    )


def _table(found: list[Outcome]) -> Html:
    names = ["", "P10", "P50", "P90", "fact", "unit", "off by", "in the band", "what the fact is"]
    head = tag("tr", [tag("th", name, scope="col", class_="words" if name == names[-1] else None) for name in names])
    body = tag(
        "table", tag("thead", head), tag("tbody", [_row(outcome) for outcome in found]), class_="numbers forecast"
    )
    return tag("figure", tag("div", body, class_="scroll"), class_="card")


def _row(outcome: Outcome) -> Html:
    fact, error = outcome.fact, outcome.error
    unit, scale = time_unit(outcome.p50) if outcome.unit == "seconds" else (outcome.unit, 1.0)
    band = (outcome.p10, outcome.p50, outcome.p90)
    cells: list[Child] = [tag("td", significant(value / scale, 4)) for value in band]
    cells.append(tag("td", tag("b", significant(fact / scale, 4)) if fact is not None else "not known"))
    cells.append(tag("td", unit))
    cells.append(tag("td", f"{100 * error:+.1f}\u00a0%".replace("-", "−") if error is not None else ""))
    verdict = "" if fact is None else "inside" if outcome.is_inside else "outside"
    badge = tag("span", verdict, class_=f"badge {verdict}") if verdict and outcome.is_counted else None
    return tag(
        "tr", tag("th", outcome.quantity, scope="row"), cells, tag("td", badge), tag("td", outcome.how, class_="words")
    )


def _band(xs: tuple[float, float], low: tuple[float, float], high: tuple[float, float], middle: Any) -> list[Spec]:
    """Return the traces of a band between two straight lines, and of its median."""
    edge: dict[str, Any] = {"width": 0, "showlegend": False, "hoverinfo": "skip", "hovertemplate": None}
    return [
        line("P10", list(zip(xs, low)), "series-2", **edge),
        line("P90", list(zip(xs, high)), "series-2", **edge, fill="tonexty", opacity=0.3),
        line("forecast, P10 to P90", list(zip(xs, middle)), "series-2", width=1.5, stroke={"dash": "dash"}),
    ]


def _loss_card(run: RunData, outcome: Outcome | None) -> Html:
    heading = "Loss on held-out text, and its forecast"
    if outcome is None:
        refused = run.forecast.get("loss_refused")
        why = refused if isinstance(refused, str) else "no table of runs was given"
        return chart_card(heading, f"No forecast of the loss: {why}.", None)
    field = UNITS[str(run.forecast["loss_unit"])][0]
    curve = thin(on_log_axis(points(run.events("validation"), "tokens_seen", field, "all")))
    if not curve:
        return chart_card(heading, "Not measured yet: no validation has been made; the first one fills it.", None)
    ends = (curve[0][0], max(curve[-1][0], amount(run.start, "num_tokens") or 0.0))
    p10, p50, p90 = outcome.p10, outcome.p50, outcome.p90
    traces = [
        *_band(ends, (p10, p10), (p90, p90), (p50, p50)),
        line("held-out text", curve, "series-1", width=2.5, **_MARKS),
    ]
    lowest = min(p10, *(y for _, y in curve))
    span = max(6 * (p90 - p10), 0.25 * p50)
    drawn = layout(traces, log_x=True, yaxis={"range": [lowest - 0.06 * span, lowest + span]})
    note = (
        f"In {outcome.unit}, over the tokens seen; the band is for the last point. The beginning is above the picture."
    )
    summary = f"Loss of validations over tokens, ending beside a band of {outcome.show_band()}."
    return chart_card(heading, note, plot(summary, traces, drawn))


_MARKS: Spec = {"mode": "lines+markers", "marker": {"size": 5, "color": "@series-1"}}


def _time_card(run: RunData, outcome: Outcome | None) -> Html:
    heading = "Time, and its forecast"
    curve = thin(elapsed(run)) if outcome is not None else []
    if outcome is None or not curve:
        return chart_card(heading, "Not measured yet: no step has been timed; the first ones fill it.", None)
    unit, scale = time_unit(outcome.p50)
    p10, p50, p90 = (value / scale for value in (outcome.p10, outcome.p50, outcome.p90))
    ends = (0.0, max(curve[-1][0], amount(run.start, "num_tokens") or 0.0))
    spent = [(x, y / scale) for x, y in curve]
    traces = [*_band(ends, (0.0, p10), (0.0, p90), (0.0, p50)), line("this run", spent, "series-1", width=2.5)]
    drawn = layout(traces, yaxis={"rangemode": "tozero"})
    note = f"In {unit}, over tokens; the forecast as if time passed evenly. What no record times stands at the start."
    summary = f"Time spent over tokens, up to {duration(curve[-1][1])}, in a band that ends at {outcome.show_band()}."
    return chart_card(heading, note, plot(summary, traces, drawn))


def elapsed(run: RunData) -> Points:
    """Return seconds spent over tokens seen; what the records don't time, the start above all, comes first."""
    spent: dict[float, float] = {}
    for event, field in _TIMED:
        for record in run.events(event):
            step, seconds = amount(record, "step"), amount(record, field)
            if step is not None and seconds is not None:
                spent[step] = spent.get(step, 0.0) + seconds
    tokens = {amount(record, "step"): amount(record, "tokens_seen") for record in run.events("step")}
    whole = amount(run.last("finish"), "seconds")
    so_far = 0.0 if whole is None else max(0.0, whole - sum(spent.values()))
    curve = [(0.0, so_far)]
    for step in sorted(spent):
        so_far += spent[step]
        seen = tokens.get(step)
        if seen is not None:
            curve.append((seen, so_far))
    return curve if len(curve) > 1 else []


def _score(found: list[Outcome]) -> Child:
    score = mean_score(found)
    if score is None:
        return tag("p", "No score yet: it comes with the facts, when the run is finished.", class_="missing card")
    counted = [outcome for outcome in found if outcome.score is not None]
    num_inside = sum(bool(outcome.is_inside) for outcome in counted)
    each = ", ".join(f"{outcome.quantity} {percent(outcome.score, 2)}" for outcome in counted)
    words = (
        f"{num_inside} of {plural(len(counted), 'fact')} inside the band. The score is the mean of {each}: the "
        "continuous ranked probability score of the logarithm, the forecast read as a log-normal. 0 is perfect; a "
        "forecast without a band that is off by 5 % has 5 %; a band too wide costs, and so does one too narrow."
    )
    caption = tag("figcaption", tag("h3", "Score", tag("strong", percent(score, 2))), tag("p", words))
    return tag("figure", caption, class_="card chart")
