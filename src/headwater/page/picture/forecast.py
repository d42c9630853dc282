"""What was forecast before the first step, beside the actual values: table, pictures, error."""

from __future__ import annotations

import re

from headwater.core.intervals import LEVEL
from headwater.core.numbers import percent, significant, time_unit
from headwater.page.picture.blocks import Block, Words, card, data_table, mark, missing, section, text
from headwater.page.picture.of_run import drawn, forecast_band
from headwater.runs.outcome import Outcome, outcomes_of, show_error
from headwater.runs.run_data import RunData

_NO_FORECAST = (
    "No forecast of the run as it is: one is made before a run's first step, and removed when the run resumes with "
    "other settings, as with more steps. `headwater plan RUN` shows what it would be."
)


def forecast(run: RunData, charts: dict[str, Block | None]) -> Block:
    found = outcomes_of(run)
    parts: list[Block] = [missing(_NO_FORECAST)]
    if found:
        parts = [text("lead", *_lead(run, {outcome.quantity: outcome for outcome in found})), _table(found)]
        if forecast_band(run.forecast):
            title = "Loss on held-out text, and its forecast"
            parts.append(drawn(charts["held_out"], "held_out", title, "the first validation fills it."))
    return section("forecast", "Forecast and actual values", parts, link="Forecast")


def _lead(run: RunData, named: dict[str, Outcome]) -> list[Words]:
    made_at = run.forecast.get("made_at")
    when = str(made_at).replace("T", " ").replace("+00:00", " UTC")
    by = f"Made {when}, before the first step. " if made_at else ""
    refused = run.forecast.get("loss_refused")
    why = refused if isinstance(refused, str) else "no table of runs was given"
    without_loss = "" if named.keys() & {"held-out loss", "new text"} else f" The loss was not forecast: {why}."
    lead = (
        f"{by}An actual value should fall between P10 and P90 in {percent(LEVEL, 0)} of cases. "
        f"Training is without preparation and evaluation.{without_loss}"
    )
    parts = re.split(r"(--\w[\w-]*)", lead)
    return [mark("option", part) if part.startswith("--") else part for part in parts]


def _table(found: list[Outcome]) -> Block:
    heads = ["", "P10", "P50", "P90", "actual", "unit", "off by", "in the band", "actual value of"]
    return card(None, None, data_table(heads, [_row(outcome) for outcome in found], words=heads[-1:]))


def _row(outcome: Outcome) -> list[Words]:
    actual, off = outcome.fact, None
    if outcome.error is not None:
        off = show_error(outcome.error).replace("-", "−").replace("%", "\u00a0%").replace("× ", "×\u00a0")
    unit, scale = time_unit(outcome.p50) if outcome.unit == "seconds" else (outcome.unit, 1.0)
    verdict = outcome.verdict if outcome.is_counted else ""
    return [
        outcome.quantity,
        *(significant(value / scale, 4) for value in (outcome.p10, outcome.p50, outcome.p90)),
        mark("b", significant(actual / scale, 4)) if actual is not None else "not known",
        unit,
        off,
        mark(f"badge {verdict.split(',')[0].replace(' ', '-')}", verdict) if verdict else None,
        outcome.how,
    ]
