"""How the run went: speed, utilisation, gradients, where the time and the energy went, and every stop and resume."""

from __future__ import annotations

from datetime import UTC, datetime

from headwater.records import Record
from headwater.report.chart import chart_card, layout, line, not_measured, plot, series
from headwater.report.curves import Points, points, smooth, thin
from headwater.report.markup import Child, Html, tag
from headwater.report.measures import median_of, seconds_trained, time_split
from headwater.report.numbers import count, duration, flop_rate, number, percent, significant, size, whole
from headwater.report.run_data import RunData, amount, table


def running(run: RunData) -> Html:
    grid = tag("div", [_speed(run), _utilisation(run), _gradient(run), _lr(run)], class_="grid")
    return tag("section", tag("h2", "How it ran"), grid, _time(run), _attempts(run), id="running")


def _speed(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "tokens_per_second")
    note = f"Tokens a second in each step; the median is {count(median_of(run, 'tokens_per_second'))}."
    return _curve_card("Throughput", note, curve, "series-1", "no step has been timed.")


def _utilisation(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "mfu")
    device = table(run.start, "device")
    peak = number(device.get("peak_flops_per_second"))
    of = f"of {flop_rate(peak)}, {device.get('peak_how') or 'the peak'}" if peak is not None else "of the peak"
    note = f"Model FLOPs as a share {of}; the median is {percent(median_of(run, 'mfu'))}."
    return _curve_card("Utilisation", note, curve, "series-3", "no step has been timed.", y_format=".0%")


def _gradient(run: RunData) -> Html:
    note = "Length of the gradient before clipping."
    curve = points(run.events("step"), "tokens_seen", "grad_norm")
    return _curve_card("Gradient norm", note, curve, "series-4", "no step has been taken.")


def _lr(run: RunData) -> Html:
    curve = points(run.events("step"), "tokens_seen", "lr")
    if not curve:
        return not_measured("Learning rate", "no step has been taken.")
    traces = [line("learning rate", thin(curve), "series-2")]
    summary = f"Learning rate over tokens, at most {significant(max(y for _, y in curve))}."
    chart_layout = layout(traces, yaxis={"rangemode": "tozero"})
    return chart_card("Learning rate", "Of the matrices.", plot(summary, traces, chart_layout, "small"))


def _curve_card(title: str, note: str, curve: Points, color: str, missing: str, y_format: str = "") -> Html:
    """Return a chart of every step with its mean drawn over it."""
    if not curve:
        return not_measured(title, missing)
    hover = "%{y:.1%}" if y_format.endswith("%") else "%{y:.4~g}"
    traces = [
        line("each step", thin(curve), color, width=1, opacity=0.35, hovertemplate=hover),
        line("mean of ±5 %", thin(smooth(curve)), color, hovertemplate=hover),
    ]
    highest = sorted(y for _, y in curve)[int(0.995 * (len(curve) - 1))]
    y_axis = {"tickformat": y_format, "range": [0, 1.12 * highest or 1], "nticks": 5}
    summary = f"{title} over tokens; the last is {significant(curve[-1][1])}."
    return chart_card(title, note, plot(summary, traces, layout(traces, showlegend=False, yaxis=y_axis), "small"))


def _time(run: RunData) -> Child:
    split = time_split(run)
    whole_time = seconds_trained(run)
    if not split or not whole_time:
        return None
    left, pieces = 0.0, []
    for index, (kind, seconds) in enumerate(split.items()):
        width = 100 * seconds / whole_time
        words = f"{kind}: {duration(seconds)}, {percent(seconds / whole_time)}"
        box = tag("rect", tag("title", words), x=f"{left:.3f}%", y="0", width=f"{width:.3f}%", height="100%", class_=series(index))
        pieces.append(box)
        left += width
    legend = [
        tag("li", tag("span", class_=f"chip {series(index)}"), f"{kind} ", tag("b", duration(seconds)), f" ({percent(seconds / whole_time)})")
        for index, (kind, seconds) in enumerate(split.items())
    ]
    caption = tag("figcaption", tag("h3", "Where the time went"), tag("p", f"{duration(whole_time)} in all. {_energy(run)}"))
    bar = tag("svg", pieces, class_="bar", role="img", aria_label="time by kind of work")
    return tag("figure", caption, bar, tag("ul", legend, class_="legend"), class_="card wide")


def _energy(run: RunData) -> str:
    finish = run.last("finish")
    energy = amount(finish, "energy_wh")
    if energy is None:
        return "Energy: not measured yet." if not run.is_finished else "Energy: not measured."
    how = finish.get("energy_how")
    return f"Energy: {significant(energy)} Wh" + (f" ({how})." if how else ".")


def _attempts(run: RunData) -> Child:
    """Return one row for each process that worked on this run: where it began, how it ended, what was done again."""
    attempts: dict[object, list[Record]] = {}
    for record in run.all_records:
        attempts.setdefault(record.get("attempt"), []).append(record)
    if not attempts:
        return None
    groups = list(attempts.values())
    heads = ["attempt", "began", "from step", "to step", "how it ended", "steps done again"]
    rows = [_attempt_row(run, records, groups[index + 1] if index + 1 < len(groups) else None) for index, records in enumerate(groups)]
    head = tag("tr", [tag("th", name, scope="col") for name in heads])
    body = tag("table", tag("thead", head), tag("tbody", rows), class_="numbers")
    resumed = len(run.events("resume"))
    note = f"Resumed {resumed} time{'s' if resumed != 1 else ''}; steps past the checkpoint are done again, to the same result." if resumed else "One process, never interrupted."
    if len(groups) == 1 and not run.is_finished:
        note = "One process so far."
    saves = run.events("checkpoint")
    if saves:
        last = saves[-1]
        note += f" {len(saves)} checkpoint{'s' if len(saves) != 1 else ''}, the last at step {whole(amount(last, 'step'))} ({size(amount(last, 'bytes'))})."
    bad = sum(record.get("taken") is False for record in run.events("step"))
    if bad:
        note += f" {bad} step{'s' if bad != 1 else ''} had no finite loss or gradient and {'were' if bad != 1 else 'was'} not taken."
    caption = tag("figcaption", tag("h3", "Attempts"), tag("p", note))
    return tag("figure", caption, tag("div", body, class_="scroll"), class_="card wide")


def _attempt_row(run: RunData, records: list[Record], following: list[Record] | None) -> Html:
    steps = [step for record in records if (step := amount(record, "step")) is not None]
    first, reached = steps[0] if steps else None, max(steps, default=None)
    resumed_at = _resumed_at(following)
    again = max(0.0, reached - resumed_at) if resumed_at is not None and reached is not None else None
    cells = [_moment(records[0]), whole(first), whole(reached), _ending(run, records, following), whole(again)]
    return tag("tr", tag("th", str(records[0].get("attempt", "–")), scope="row"), [tag("td", cell) for cell in cells])


def _resumed_at(records: list[Record] | None) -> float | None:
    return next((amount(record, "step") for record in records or [] if record.get("event") == "resume"), None)


def _ending(run: RunData, records: list[Record], following: list[Record] | None) -> str:
    for record in reversed(records):
        if record.get("event") == "stopped":
            return f"stopped by {record.get('signal') or 'a signal'}, after a save"
        if record.get("event") == "finish":
            return "finished"
    return "died without a word (killed, or the machine went away)" if following is not None else "still running, or killed"


def _moment(record: Record) -> str:
    seconds = number(record.get("time"))
    try:
        return "–" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "–"
