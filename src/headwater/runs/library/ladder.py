"""What small runs tell of a large one, or the law that a table of runs shows: as `headwater ladder --json` has it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from headwater.core.errors import ConfigError, DataError
from headwater.core.records import Record
from headwater.core.validation import wanted
from headwater.runfile.paths import ignore
from headwater.runfile.run_config import RunConfig
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, name_of, overrides_of, require_none

if TYPE_CHECKING:  # a table is fitted without what trains
    from headwater.plan.scaling import ScalingLaw

MakeDisplay = Annotated[Callable[[RunConfig], Callable[[Record], None]], wanted("give a function of a rung's settings")]
Targets = Annotated[
    Sequence[str | Sequence[arg.Number]], wanted("give a list of (parameters, tokens) or (parameters, tokens, epochs)")
]


@checked
def ladder(
    run: arg.AnyRun | None = None,
    /,
    *,
    share: arg.Number | None = None,
    table: arg.AnyPath | None = None,
    at: Targets = (),
    loss_column: arg.Text = "loss",
    budget: arg.Number | None = None,
    say: arg.Progress = print,
    make_display: MakeDisplay | None = None,
    overrides: arg.Overrides = (),
    **settings: Any,
) -> dict[str, Any] | None:
    """Train small runs of a run, and return what they tell of it; or fit the law that a table of finished runs shows.

    Of a run: `rungs`, each with its `loss` in bits per byte and `seconds`; `forecast`, the run's loss as {"p10", "p50",
    "p90"}; `plan`, as `headwater.plan` returns it; `backtest`. `share` is the most that the rungs may take over the
    run's own time. `settings` are for this call, in the tables of a run file; `overrides` the same as they are typed.
    `make_display` makes, of a rung's settings, what gets its records. The same call resumes; None says that a signal
    stopped it, and all is saved. Of a CSV `table` with columns params, tokens and loss: the law's `A`, `B`, `E`,
    `alpha`, `beta`, `forecasts` of the runs of `at` (parameters, tokens, epochs; or as typed, "70B,1.4T"), and the
    `optimum` of a `budget` in FLOPs. Raises ConfigError for what no ladder fits in, DataError for a table that is none.

        headwater.ladder("mine.toml")["forecast"]
        headwater.ladder(table="runs.csv", at=[(70e9, 1.4e12)])["forecasts"][0]["p50"]
    """
    if table is not None:
        if run is not None:
            raise ConfigError(f"--table fits {table} alone; remove {run}")
        of_run = {"share": share, "overrides": overrides or None} | settings
        require_none("is for the small runs of RUN; remove it or --table", **of_run)
        targets = [each if isinstance(each, str) else ",".join(repr(float(number)) for number in each) for each in at]
        return _of_table(Path(table), targets, loss_column, budget)
    if run is None:
        raise ConfigError(
            "name a run, as in `headwater ladder first-light`, or a table: `headwater ladder --table CSV`"
        )
    column = None if loss_column == "loss" else loss_column
    require_none("needs --table CSV", at=at or None, loss_column=column, budget=budget)
    from headwater.runs.ladder import run_ladder

    changes = [*overrides, *overrides_of(settings)]
    return run_ladder(name_of(run), changes, share, make_display or (lambda config: ignore), say)


# ---- of a table


def _of_table(path: Path, at: Sequence[str], loss_column: str, budget: float | None) -> dict[str, Any]:
    """Fit loss = E + A/params^alpha + B/tokens^beta, and forecast the runs of `at`, each with its interval."""
    from threadpoolctl import threadpool_limits

    from headwater.plan.scaling import ScalingLaw, read_runs
    from headwater.plan.scaling.table import num_distinct

    if budget is not None and not 0 < budget < math.inf:
        raise ConfigError(f"--budget {budget:g}: give FLOPs above zero, like 1e21")
    targets = [_target(text) for text in at]
    started_at = time.perf_counter()
    runs = read_runs(path, loss_column)
    if num_distinct(runs.params) == 1 and num_distinct(runs.tokens) == 1:
        raise ConfigError("all runs have the same params and tokens; the law needs runs of several sizes: add some")
    # under load two threads wait for each other, spinning: a fit of 0.2 s took 10
    with threadpool_limits(limits=1, user_api="blas"):
        law = ScalingLaw(runs)
        result = _law_fields(law, time.perf_counter() - started_at)
        if targets:
            result["forecasts"] = [_forecast_fields(law, *target) for target in targets]
        result["optimum"] = _optimum_fields(law, float(law.runs.flops.max()) if budget is None else budget)
    return result


def _target(text: str) -> list[float]:
    """Return the numbers of PARAMS,TOKENS[,EPOCHS]."""
    from headwater.plan.amounts import parse_amount

    parts = text.split(",")
    try:
        numbers = [parse_amount("--at", part, noun) for part, noun in zip(parts, ("parameters", "tokens", "epochs"))]
    except ConfigError:
        numbers = []
    if len(numbers) != len(parts) or len(parts) < 2:
        raise ConfigError(
            f"--at {text}: give params and tokens, and epochs if they aren't 1, above zero and with commas, like "
            "70e9,1.4e12 or 70B,1.4T,4"
        )
    return numbers


def _law_fields(law: ScalingLaw, seconds: float) -> dict[str, Any]:
    """Return the curve, what the rows say of its exponents when runs of like size count as related, and warnings."""
    from headwater.core.intervals import LEVEL
    from headwater.plan.scaling.checks import table_warnings
    from headwater.plan.scaling.table import most_epochs_of

    return {
        **{name: getattr(law.curve, name) for name in ("A", "B", "E", "alpha", "beta")},
        "num_points": len(law.runs),
        "seconds": seconds,
        "objective": law.curve.objective,
        "repetition": {
            "strength": law.strength.median,
            "log_deviation": law.strength.log_deviation,
            "max_epochs": most_epochs_of(law.table),
        },
        "exponent_intervals": {
            name: {"p10": found.p10, "p90": found.p90, "identified": found.is_identified, "likeliest": found.likeliest}
            for name, found in zip(("alpha", "beta"), law.exponents, strict=True)
        },
        "interval_levels": {"p10_p90": LEVEL},
        "backtest": {"num_cuts": len(law.past), "widening": law.widening},
        "warnings": [asdict(warning) for warning in table_warnings(law.posterior, law.exponents)],
    }


def _forecast_fields(law: ScalingLaw, params: float, tokens: float, epochs: float = 1.0) -> dict[str, Any]:
    """Return P10, P50 and P90 of a run's loss, and the curve's; None where the rows can't carry them."""
    import numpy as np

    from headwater.plan.scaling.table import penalty

    unique = tokens / max(1.0, epochs)
    fields: dict[str, Any] = {"params": params, "tokens": tokens}
    rise = law.likeliest_strength * float(penalty(np.array(params), np.array(tokens), unique))  # as in the curve
    if epochs > 1:
        fields |= {"epochs": epochs, "repetition_costs": rise}
    try:
        found = law.predict(params, tokens, unique_tokens=unique)  # at LEVEL, from P10 to P90
    except DataError as refused:
        return {**fields, **dict.fromkeys(("p10", "p50", "p90")), "refused": str(refused)}
    warnings = [asdict(warning) for warning in law.warnings(params, tokens)]
    curve = float(law.curve.loss(np.array(params), np.array(tokens))) * (1 + rise)
    band = {"p10": float(found.low[0]), "p50": float(found.median[0]), "p90": float(found.high[0])}
    return {**fields, **band, "curve": curve, "warnings": warnings}


def _optimum_fields(law: ScalingLaw, flops: float) -> dict[str, Any]:
    """Return the compute-optimal size at a budget, or `refused` and why."""
    try:
        return asdict(law.optimum(flops))
    except DataError as refused:
        return {"flops": flops, "refused": str(refused)}
