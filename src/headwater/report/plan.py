"""The page of a plan: what a run will take and how good it will be, each with its band, and where that comes from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from headwater.files import write_text
from headwater.forecast.result import PART_WORDS
from headwater.intervals import LEVEL, Z_P90
from headwater.numbers import carbon_unit, count, energy_unit, in_unit, percent, significant, time_unit, whole
from headwater.report.chart import Spec, chart_card, label, layout, line, plot, time_bar
from headwater.report.markup import Child, Html, card, data_table, section, tag
from headwater.report.outcome import UNITS
from headwater.report.page import whole_page

Band = dict[str, float]
_NUM_POINTS, _REACH = 120, 3.2  # points of a curve, and how many deviations it is drawn to


def write_plan_page(path: Path, result: dict[str, Any]) -> None:
    """Write the page; `result` is what `headwater plan RUN --json` prints."""
    name = str(result["name"])
    footer = "Made by headwater before the run. This file makes no request to any server."
    header = tag("header", tag("h1", name), tag("p", _sentence(result["counts"]), class_="lead"))
    sections = [_notes(result), _quantities(result), _time(result), _sources(result)]
    write_text(path, whole_page(f"plan of {name}", [header, tag("main", sections), tag("footer", footer)]))


def _notes(result: dict[str, Any]) -> Html | None:
    notes = [tag("p", f"Note: {note}.", class_="lead") for note in result["notes"]]
    return tag("section", notes) if notes else None


def _sentence(counts: dict[str, Any]) -> str:
    read = f" At most {counts['epochs']:.2g} epochs of a source." if counts["epochs"] else ""
    return (
        f"A plan, before the first step: {count(counts['params'])} parameters, {count(counts['tokens'])} tokens in "
        f"{whole(counts['num_steps'])} steps ({counts['tokens_per_parameter']:.1f} per parameter), "
        f"{counts['flops']:.2e} FLOPs.{read} P10 to P90 should hold {percent(LEVEL, 0)} of actual values."
    )


def _quantities(result: dict[str, Any]) -> Html:
    limits, chances = result["limits"], result["probabilities"]
    unit, scale = _time_unit(result)
    hours = _scaled(result["hours"], 3600 / scale)
    max_hours = None if limits["max_hours"] is None else limits["max_hours"] * 3600 / scale
    memory = None if limits["memory_bytes"] is None else limits["memory_bytes"] / 2**30
    energy, in_kwh = energy_unit(result["energy_kwh"]["p50"])
    carbon, in_kg = carbon_unit(result["kg_co2"]["p50"])
    words = UNITS[result["loss_unit"]][1]
    cards = [
        _card("Time", hours, unit, max_hours, chances["over_max_hours"], "chance to take more than"),
        _card("Memory", result["memory_gib"], "GiB", memory, chances["over_memory"], "chance not to fit into"),
        _card("Energy", _scaled(result["energy_kwh"], in_kwh), energy),
        _card("Carbon", _scaled(result["kg_co2"], in_kg), f"{carbon} CO₂"),
        _card(
            "Money", result["money"], "USD", limits["max_money"], chances["over_max_money"], "chance to cost more than"
        ),
        _card("Loss", result["loss"], words, limits["target_loss"], chances["misses_target_loss"], "chance to miss"),
    ]
    unknown = [
        tag("p", f"{name.capitalize()}: not known: {result['how'][name]}.", class_="lead")
        for name in ("money", "loss")
        if not result[name]
    ]
    return section("What it will take", "quantities", tag("div", cards, class_="grid"), unknown)


def _time_unit(result: dict[str, Any]) -> tuple[str, float]:
    """Return the one unit of the page's times, and its seconds: a reader compares parts with the whole."""
    return time_unit(3600 * result["hours"]["p50"])


def _scaled(band: Band, factor: float) -> Band:
    return {name: factor * value for name, value in band.items()}


def _card(
    title: str, band: Band | None, unit: str, limit: float | None = None, chance: float | None = None, what: str = ""
) -> Html | None:
    """Return the chances of a quantity as a curve with its band filled; a limit near enough is drawn, too."""
    if not band:
        return None
    low, middle, high = band["p10"], band["p50"], band["p90"]
    curve = _curve(band)
    inside = [(x, y) for x, y in curve if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]
    traces = [
        line("P10 to P90", inside, "series-1", width=0, fill="tozeroy", opacity=0.4),
        line("all", curve, "series-1"),
    ]
    is_below = limit is not None and limit < middle
    marks = [_upright(middle, "P50", "series-1", at_left=not is_below)]
    is_near = limit is not None and curve[0][0] < limit < curve[-1][0] + 2 * (curve[-1][0] - curve[0][0])
    if limit is not None and is_near:
        marks.append(_upright(limit, "limit", "series-5", at_left=is_below))
    value = tag("strong", f"{significant(middle)} {unit}")
    note = f"{significant(low)} to {significant(high)} {unit}"
    if limit is not None and chance is not None:
        note += f"; {percent(chance, 0)} {what} {significant(limit)} {unit}"
    summary = f"{title}: {significant(middle)} {unit}, {note}."
    drawn = _axes(traces, marks, unit)
    return chart_card([title, value], f"{note}.", plot(summary, traces, drawn, "small"))


def _curve(band: Band) -> list[tuple[float, float]]:
    """Return the density of the log-normal with this median and this distance of P10 and P90, its top at 1."""
    deviation = max(math.log(band["p90"] / band["p10"]) / (2 * Z_P90), 1e-3)
    places = [_REACH * (2 * index / _NUM_POINTS - 1) for index in range(_NUM_POINTS + 1)]
    places = sorted(
        {*places, math.log(band["p10"] / band["p50"]) / deviation, math.log(band["p90"] / band["p50"]) / deviation}
    )
    heights = [math.exp(-(place**2) / 2 - deviation * place) for place in places]
    return [
        (band["p50"] * math.exp(deviation * place), height / max(heights)) for place, height in zip(places, heights)
    ]


def _upright(x: float, words: str, color: str, *, at_left: bool) -> tuple[Spec, Spec]:
    """Return an upright line over the whole height and its label, on one side of it."""
    stroke = {"color": f"@{color}", "width": 1.5, "dash": "dash"}
    shape = {"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": stroke}
    side = "right" if at_left else "left"
    mark = label(words, 1.0, color, above=False) | {"xref": "x", "x": x, "xanchor": side, "yref": "paper"}
    return shape, mark


def _axes(traces: list[Spec], marks: list[tuple[Spec, Spec]], unit: str) -> Spec:
    """Return a linear axis around the curve and the limits, without the axis of densities."""
    shapes, labels = [shape for shape, _ in marks], [mark for _, mark in marks]
    xs = [x for trace in traces for x in trace["x"]] + [shape["x0"] for shape in shapes]
    room = 0.04 * (max(xs) - min(xs))
    drawn = layout(traces, "", unit, showlegend=False, hovermode=False, shapes=shapes, annotations=labels)
    drawn["yaxis"] |= {"visible": False, "range": [0, 1.12]}
    drawn["xaxis"] |= {"range": [min(xs) - room, max(xs) + room], "nticks": 6}
    return drawn


def _time(result: dict[str, Any]) -> Html:
    parts = {PART_WORDS.get(name, name): band["p50"] for name, band in result["seconds"].items() if band["p50"] > 0}
    unit, scale = _time_unit(result)
    trained = in_unit(3600 * result["training"]["hours"]["p50"], unit, scale)
    note = f"Medians by part; {trained} of them are training."
    bar = time_bar(parts, lambda seconds: in_unit(seconds, unit, scale))
    return section("Time by part", "time", card("Where the time goes", note, bar))


def _sources(result: dict[str, Any]) -> Html:
    time, scale = _time_unit(result)
    energy, in_kwh = energy_unit(result["energy_kwh"]["p50"])
    carbon, in_kg = carbon_unit(result["kg_co2"]["p50"])
    how = result["how"] | {"kg_co2": "energy and site above"}
    shown = {
        "hours": ("time", time, 3600 / scale),
        "memory_gib": ("memory", "GiB", 1.0),
        "energy_kwh": ("energy", energy, in_kwh),
        "kg_co2": ("carbon", f"{carbon} CO₂", in_kg),
        "money": ("money", "USD", 1.0),
        "loss": ("loss", UNITS[result["loss_unit"]][1], 1.0),
    }
    rows: list[list[Child]] = []
    for field, (words, unit, factor) in shown.items():
        band = result[field]
        values = [significant(factor * band[name], 4) if band else "–" for name in ("p10", "p50", "p90")]
        rows.append([words, *values, unit, how[field]])
    body = data_table(["", "P10", "P50", "P90", "unit", "from"], rows, words=["from"])
    return section("Where each number comes from", "sources", card(None, None, body))
