"""What the rungs of a ladder say of their run: its loss by source, how far to trust it, what to add. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from headwater.errors import ConfigError
from headwater.forecast.ladder import Rung
from headwater.model.settings import ModelSettings
from headwater.runs.ladder_design import Ladder
from headwater.runs.ladder_record import BITS_PER_BYTE, DoneRung, size_of, table_of
from headwater.runs.plan import PlanOptions, plan_run, with_ladder
from headwater.runs.text_size import epochs_or_none, overall_epochs
from headwater.scaling.backtest import LEAST_FITTED
from headwater.scaling.checks import forecast_refusal
from headwater.scaling.design import worth_of_another
from headwater.scaling.estimator import ScalingLaw
from headwater.scaling.repetition import OWN
from headwater.scaling.table import Runs, with_epochs

QUANTILES = ("p10", "p50", "p90")


def ladder_result(ladder: Ladder, done: Sequence[DoneRung]) -> dict[str, Any]:
    """Return what `headwater ladder RUN --json` prints."""
    by_source = epochs_or_none(ladder.config) or {}
    epochs = {name: max(1.0, found.times) for name, found in by_source.items()}
    epochs["all"] = overall_epochs(by_source)
    model = ladder.config.model
    return {
        "name": ladder.config.name,
        "unit": BITS_PER_BYTE,
        "budget_seconds": ladder.budget_seconds,
        "seconds": sum(rung.seconds for rung in done),
        "share": sum(rung.seconds for rung in done) / ladder.target.seconds,
        "rungs": [_rung_fields(rung) for rung in done],
        "forecast": {
            source: _forecast(ladder, table_of(done, model, source), epochs.get(source, 1.0)) for source in done[0].loss
        },
        "backtest": backtest(done, model, epochs["all"]),
        "another": another(ladder),
        "plan": plan_run(ladder.config, with_ladder(ladder.config, PlanOptions())).fields(),
    }


def _rung_fields(done: DoneRung) -> dict[str, Any]:
    planned = asdict(done.rung) | {"planned_seconds": done.rung.seconds}
    measured = {"loss": done.loss["all"], "loss_by_source": done.loss, "seconds": done.seconds}
    return planned | measured | {"name": done.rung.name, "step_seconds": done.step_seconds}


def _forecast(ladder: Ladder, runs: Runs, epochs: float) -> dict[str, Any]:
    law, target, size = ScalingLaw(with_epochs(runs, epochs), OWN), ladder.target, size_of(ladder.config.model)
    if refused := forecast_refusal(law.runs, size, target.tokens):
        return {**dict.fromkeys(QUANTILES), "refused": refused}
    return _quantiles(law, target, size, epochs)


def _quantiles(law: ScalingLaw, target: Rung, size: float, epochs: float) -> dict[str, float]:
    unique = target.tokens / epochs
    found = law.predict(size, target.tokens, unique_tokens=unique, total_params=target.params)
    return dict(zip(QUANTILES, found.band, strict=True))


def backtest(done: Sequence[DoneRung], model: ModelSettings, epochs: float = 1.0) -> list[dict[str, Any]]:
    """Return each larger rung as the smaller ones alone would have forecast it, and what it was.

    All of them read their text this often.
    """
    found = []
    for number in range(LEAST_FITTED, len(done)):
        target, rows = done[number], table_of(done[: number + 1], model)
        rung, fact = target.rung, target.loss["all"]
        runs = rows.where(np.arange(number + 1) < number)
        forecast = _quantiles(ScalingLaw(with_epochs(runs, epochs), OWN), rung, float(rows.params[-1]), epochs)
        found.append(
            {
                "name": rung.name,
                **forecast,
                "fact": fact,
                "relative_error": fact / forecast["p50"] - 1,
                "compute_ratio": rung.flops / max(other.rung.flops for other in done[:number]),
            }
        )
    return found


def another(ladder: Ladder) -> dict[str, Any] | None:
    """Return the run that would narrow the forecast most, of no more time than the longest rung; None without any."""
    try:
        worth = worth_of_another(ladder.rungs, ladder.candidates, ladder.target, _longest(ladder.rungs))
    except ConfigError:
        return None
    return {
        "name": worth.rung.name,
        "seconds": worth.rung.seconds,
        "narrows_to": worth.deviation_then / worth.deviation_now,
    }


def _longest(rungs: Sequence[Rung]) -> float:
    return max(rung.seconds for rung in rungs)
