"""Everything that one table shows, as plain values: the law, its exponents' intervals, forecasts, optimum, warnings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from headwater.errors import ConfigError
from headwater.scaling.arrays import Z_P90, on_one_thread
from headwater.scaling.fit import Law, fit_law
from headwater.scaling.forecast import Forecast, Forecaster
from headwater.scaling.frontier import optimum
from headwater.scaling.overfit import OneRow, RepeatedForecaster
from headwater.scaling.profile import Profile, profiles
from headwater.scaling.refusal import Caution, forecast_refusal, forecast_warnings, optimum_refusal, table_warnings
from headwater.scaling.table import MAX_EPOCHS, Runs, most_epochs_of, num_distinct
from headwater.scaling.tuning import regret

Clock = Callable[[], float]
NOT_THE_LAW = (
    "the median of a forecast is not the curve of the law: it averages over exponents that the runs leave open, and "
    "follows nearby runs"
)
RELATED = "counting runs of like size as related, by likelihood"
QUANTILES = ("p5", "p10", "p50", "p90", "p95")
LEVELS = {"p5_p95": 0.9, "p10_p90": 0.8}
"What share of runs each pair of quantiles should hold."


@dataclass(frozen=True)
class Target:
    """A run to forecast: `tokens` counts repeats, when its text is read more than once; factors are times the best."""

    params: float
    tokens: float
    epochs: float = 1.0
    lr_factor: float = 1.0
    batch_factor: float = 1.0


@dataclass(frozen=True)
class Study:
    """A fitted table; profiles are those of alpha and beta. `seconds` is what fitting and back-testing took.

    `runs`, law and forecaster are those of fresh text: what repetition cost the rows is taken out, as in `repeated`.
    """

    runs: Runs
    law: Law
    forecaster: Forecaster
    repeated: RepeatedForecaster
    profiles: tuple[Profile, Profile]
    seconds: float


def study(runs: Runs, clock: Clock = time.perf_counter) -> Study:
    """Fit the law of the least Huber loss, and the forecaster with its back-test on the table."""
    if num_distinct(runs.params) == 1 and num_distinct(runs.tokens) == 1:
        raise ConfigError("all runs have the same params and tokens; the law needs runs of several sizes: add some")
    started_at = clock()
    with on_one_thread():
        repeated = RepeatedForecaster(runs)
        forecaster = repeated.likeliest
        law = fit_law(forecaster.runs)
        found = profiles(forecaster.posterior, law)
    return Study(forecaster.runs, law, forecaster, repeated, found, clock() - started_at)


def law_fields(done: Study) -> dict[str, Any]:
    """Return the law, and what the rows say of its exponents when runs of like size count as related.

    An interval is around `likeliest`, the exponent by that likelihood; the law's own may lie outside.
    """
    law, posterior, strength = done.law, done.forecaster.posterior, done.repeated.strength
    intervals = {
        name: {**profile.quantiles, "identified": profile.is_identified, "likeliest": profile.top}
        for name, profile in zip(("alpha", "beta"), done.profiles)
    }
    return {
        "A": law.A,
        "B": law.B,
        "E": law.E,
        "alpha": law.alpha,
        "beta": law.beta,
        "num_points": len(done.runs),
        "seconds": done.seconds,
        "objective": law.objective,
        "repetition": {
            "strength": strength.median,
            "log_deviation": strength.log_deviation,
            "most_readings": most_epochs_of(done.repeated.runs),
        },
        "exponent_intervals": intervals,
        "interval_levels": LEVELS,
        "backtest": {"num_cuts": len(done.forecaster.past), "widening": done.forecaster.widening},
        "warnings": [asdict(warning) for warning in table_warnings(done.runs, law, posterior, done.profiles)],
    }


def forecast_fields(done: Study, target: Target) -> dict[str, Any]:
    """Return p5, p50 and p95 of a target's loss; each is None where the rows can't carry it, and `refused` says why."""
    unique = target.tokens / max(1.0, target.epochs)
    fields: dict[str, Any] = {"params": target.params, "tokens": target.tokens}
    if target.epochs > 1:
        rise = done.repeated.strength.log_cost(np.array(target.params), np.array(target.tokens), unique)
        fields |= {"epochs": target.epochs, "repetition_costs": float(np.expm1(rise))}
    cost = regret(target.lr_factor, target.batch_factor)
    if cost:
        fields |= {"lr_factor": target.lr_factor, "batch_factor": target.batch_factor}
    if refused := _too_often(target.epochs) or forecast_refusal(done.runs, target.params, target.tokens):
        return {**fields, **dict.fromkeys(QUANTILES), "refused": refused}
    found = done.repeated.forecast(target.params, target.tokens, unique, cost)
    held, one_row = held_without_one_row(done, found, unique, cost)
    warnings = [*one_row, *forecast_warnings(done.runs, target.params, target.tokens)]
    return {**fields, **held.quantiles, "warnings": [asdict(warning) for warning in warnings]}


def held_without_one_row(
    done: Study, found: Forecast, unique: float, cost: float = 0.0
) -> tuple[Forecast, list[Caution]]:
    """Return the forecast with an interval that holds the median without any one of the largest rows.

    P10 to P90 holds them all; a warning names the row without which the median would leave the interval otherwise.
    """
    rows = done.repeated.without_each_of_the_largest(found.params, found.tokens, unique)
    if not rows:
        return found, []
    off, row = max(((abs(math.log(row.median_without * (1 + cost) / found.p50)), row) for row in rows), key=_first)
    held = replace(found, log_deviation=math.hypot(found.log_deviation, off / Z_P90))
    if off <= Z_P90 * found.log_deviation:
        return held, []
    return held, [
        Caution(
            "one_row",
            f"one row decides: without the run of {row.params:.3g} parameters and {row.tokens:.3g} tokens the median "
            f"is {row.median_without * (1 + cost):.4g}; the interval is widened to hold it",
        )
    ]


def _first(pair: tuple[float, OneRow]) -> float:
    return pair[0]


def _too_often(epochs: float) -> str | None:
    if epochs <= MAX_EPOCHS:
        return None
    return f"{epochs:g} epochs are more than the {MAX_EPOCHS:g} that were measured"


def optimum_fields(done: Study, flops: float | None = None) -> dict[str, Any]:
    """Return the compute-optimal size at a budget (by default that of the largest run), or `refused` and why."""
    budget = float(done.runs.flops.max()) if flops is None else flops
    found = optimum(done.forecaster.posterior, budget)
    refused = optimum_refusal(done.runs, done.profiles, found)
    if refused or found is None:
        return {"flops": budget, "refused": refused}
    return asdict(found)
