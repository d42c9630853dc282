"""How the run went: speed, utilisation, gradients, and where the time and the energy went."""

from __future__ import annotations

from headwater.core.numbers import MISSING, count, duration, flop_rate, percent, significant
from headwater.core.records import amount, table
from headwater.page.charts.chart import time_bar
from headwater.page.charts.markup import Child, Html, card, section, tag
from headwater.page.charts.of_run import STEP_CHARTS, Chart, card_of, step_chart
from headwater.page.report.sections.attempts import attempts, interventions
from headwater.runs.measures import (
    median_of,
    median_share,
    no_utilisation,
    seconds_lost,
    seconds_trained,
    stage_seconds,
    time_lost,
    time_split,
    utilisation,
)
from headwater.runs.run_data import RunData

FILLED = "the first timed step fills it."


def running(run: RunData, charts: dict[str, Chart | None]) -> Html:
    speed = f"Tokens per second in each step; the median is {count(median_of(run, 'tokens_per_second'))}."
    cards = [
        card_of(charts["tokens_per_second"], STEP_CHARTS["tokens_per_second"][0], FILLED, speed),
        _utilisation(run),
        card_of(charts["grad_norm"], STEP_CHARTS["grad_norm"][0], FILLED),
        card_of(charts["lr"], "Learning rate", FILLED),
        memory.card() if (memory := charts["memory"]) else None,
    ]
    grid = tag("div", cards, class_="grid")
    return section("How it ran", "running", grid, _time(run), attempts(run), interventions(run))


def _utilisation(run: RunData) -> Html | None:
    peak, curve = utilisation(run)
    if not curve and no_utilisation(run) != MISSING:  # the figure at the top says why
        return None
    how = table(run.start, "device").get("peak_how") or "the largest rate of matrix products"
    note = f"Arithmetic of training; the median is {percent(median_share(curve))} of {flop_rate(peak)}, {how}."
    return card_of(step_chart("mfu", curve, note), "Utilisation", FILLED)


def _time(run: RunData) -> list[Child]:
    split, stages = time_split(run), stage_seconds(run)
    note = f"{duration(sum(stages.values()))} of timed work, from the text to the report."
    cards: list[Child] = [card("Time of all stages", note, time_bar(stages))] if stages else []
    if split:
        whole = f"{duration(seconds_trained(run) or 0.0)} in all{time_lost(seconds_lost(run))}"
        cards.append(card("Time of training", f"{whole}. {_energy(run)}", time_bar(split)))
    return cards


def _energy(run: RunData) -> str:
    finish = run.last("finish")
    energy = amount(finish, "energy_wh")
    if energy is None:
        return "Energy: not measured yet." if not run.is_finished else "Energy: not measured."
    how = finish.get("energy_how")
    return f"Energy: {significant(energy, 2)}\u00a0Wh" + (f"; {how}." if how else ".")
