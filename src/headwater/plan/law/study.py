"""Everything that one table shows, as plain values: the law, its exponents' intervals, forecasts, optimum, warnings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headwater.errors import ConfigError
from headwater.plan.arrays import on_one_thread
from headwater.plan.law.fit import Law, fit_law
from headwater.plan.law.forecast import Forecaster
from headwater.plan.law.frontier import optimum
from headwater.plan.law.overfit import RepeatedForecaster
from headwater.plan.law.profile import Profile, profiles
from headwater.plan.law.refusal import forecast_refusal, forecast_warnings, optimum_refusal, table_warnings
from headwater.plan.law.table import MAX_EPOCHS, Runs, most_readings, num_distinct
from headwater.plan.law.tuning import regret

Clock = Callable[[], float]
NOT_THE_LAW = (
    "the median of a forecast is not the curve of the law: it averages over exponents that the runs leave open, and "
    "follows near runs where they depart from the law"
)
RELATED = "counting runs of like size as related, by likelihood"


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
        name: {"p5": profile.low, "p95": profile.high, "identified": profile.is_identified, "likeliest": profile.top}
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
            "most_readings": most_readings(done.repeated.runs),
        },
        "exponent_intervals": intervals,
        "backtest": {"num_cuts": len(done.forecaster.past), "widening": done.forecaster.widening},
        "warnings": [asdict(warning) for warning in table_warnings(done.runs, law, posterior, done.profiles)],
    }


def forecast_fields(done: Study, target: Target) -> dict[str, Any]:
    """Return p5, p50 and p95 of a target's loss; each is None where the rows can't carry it, and `refused` says why."""
    unique = target.tokens / max(1.0, target.epochs)
    asked: dict[str, Any] = {"params": target.params, "tokens": target.tokens}
    if target.epochs > 1:
        rise = done.repeated.strength.log_cost(np.array(target.params), np.array(target.tokens), unique)
        asked |= {"epochs": target.epochs, "repetition_costs": float(np.expm1(rise))}
    cost = regret(target.lr_factor, target.batch_factor)
    if cost:
        asked |= {"lr_factor": target.lr_factor, "batch_factor": target.batch_factor}
    if refused := _too_often(target.epochs) or forecast_refusal(done.runs, target.params, target.tokens):
        return {**asked, "p5": None, "p50": None, "p95": None, "refused": refused}
    found = done.repeated.forecast(target.params, target.tokens, unique, cost)
    warnings = [asdict(warning) for warning in forecast_warnings(done.runs, target.params, target.tokens)]
    return {**asked, "p5": found.p5, "p50": found.p50, "p95": found.p95, "warnings": warnings}


def _too_often(epochs: float) -> str | None:
    if epochs <= MAX_EPOCHS:
        return None
    return f"{epochs:g} readings of a text are more than the {MAX_EPOCHS:g} that were measured"


def optimum_fields(done: Study, flops: float | None = None) -> dict[str, Any]:
    """Return the compute-optimal size at a budget (by default that of the largest run), or `refused` and why."""
    budget = float(done.runs.flops.max()) if flops is None else flops
    found = optimum(done.forecaster.posterior, budget)
    refused = optimum_refusal(done.runs, done.profiles, found)
    if refused or found is None:
        return {"flops": budget, "refused": refused}
    return asdict(found)
