"""Small runs of a run, trained and measured, and what they say of it; or the law that a table of runs shows.

A rung is a run like any other, in RUN/ladder: the same mixture, batch and rules, a smaller model, fewer steps, and such
a part of the run's text that it is read as often.
It resumes from its own checkpoint, and a rung that is done isn't trained again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from headwater.core.errors import ConfigError, DataError
from headwater.core.files import link_folder, make_folder, remove_leftovers
from headwater.core.numbers import duration, significant
from headwater.core.records import Record, read_records
from headwater.core.validation import wanted
from headwater.plan import rungs
from headwater.plan.forecast.result import Band
from headwater.plan.run_plan import load_note
from headwater.runfile.given import Override
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.paths import Folders, Say, ignore, write_kept
from headwater.runfile.run_config import RunConfig, made_for, train_plan
from headwater.runs import stages
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, name_of, overrides_of, require_none
from headwater.runs.stages import open_batches
from headwater.train.checkpoint.layout import require_from_training
from headwater.train.checkpoint.lock import owned
from headwater.train.resume import changes, differing, is_trained, require_settings

if TYPE_CHECKING:
    from headwater.plan.rungs import DoneRung, Ladder
    from headwater.plan.scaling import ScalingLaw


def prepare_ladder(run: str, overrides: Sequence[str | Override], share: float | None, say: Say) -> rungs.Ladder:
    """Bring the run's text up to date and choose the rungs; raise ConfigError for a time that no ladder fits in."""
    config, reasons = load_with_kept(run, overrides)
    if share is not None and (config.init is not None or not 0 < share < math.inf):
        raise ConfigError(f"--share {share:g}: give a number above zero; of a run from a base, remove it")
    require_from_training(config.run_dir)
    with owned(config.run_dir):
        stages.prepare_data(config, say)
        stages.prepare_rows(config, say)  # once: rungs have the run's data folder and seq_len
        folder, kept = config.folders.ladder, rungs.read_design(config)
        remove_leftovers(folder)
        if kept is None and any(folder.glob("*")):
            lines = [f"{folder} is damaged"]
            if (other := rungs.kept_design(config)) is not None:
                both = other.made_for, made_for(config)
                lines = [f"{folder} was trained with other settings:", *changes(*both, differing(*both))]
            raise ConfigError("\n".join([*lines, "Rename it or remove it, or give the run another name (name=…)"]))
        target, chosen = rungs.design_ladder(config, share, kept)
        if kept is None or kept.rungs != chosen:
            make_folder(folder)
            write_kept(folder / "ladder.json", rungs.Design(made_for(config), share, chosen))
    if busy := load_note():
        say(busy)
    return rungs.Ladder(run, overrides, config, reasons, target, chosen)


def climb(ladder: rungs.Ladder, make_display: MakeDisplay, say: Say) -> list[rungs.DoneRung] | None:
    """Train every rung that isn't done; return None when a signal stopped it (all is saved)."""
    config, done = ladder.config, list[rungs.DoneRung]()
    with owned(config.run_dir):
        for number, rung in enumerate(ladder.rungs, start=1):
            if (found := rungs.done_rung(config, rung)) is None:
                say(f"rung {number} of {len(ladder.rungs)}: {rung.name}, about {duration(rung.seconds)}")
                found = _train(ladder, rung, make_display, say)
            if found is None:
                say(f"{number - 1} of {len(ladder.rungs)} rungs are trained; the same command resumes")
                return None
            done.append(found)
    return done


def _train(ladder: rungs.Ladder, rung: rungs.Rung, make_display: MakeDisplay, say: Say) -> rungs.DoneRung | None:
    """Train a rung and return what it measured, which is kept in its folder; None when a signal stopped it."""
    from headwater.runs.training import train_stage

    config, reasons = rungs.rung_config(ladder, rung)
    folder = config.run_dir
    make_folder(folder)
    with owned(folder):
        stages.tidy(Folders(folder))
        link_folder(Folders(folder).data, ladder.config.folders.data)
        require_settings(folder, train_plan(config))
        stages.write_config(config, reasons)
        if not is_trained(config.run_dir, config.train.num_steps):
            batches, display = open_batches(config), make_display(config)
            if not train_stage(config, batches, display, say):
                return None
    validations, finishes = (read_records(folder / "records.jsonl", event) for event in ("validation", "finish"))
    base = None if config.init is None else validations[0]["bits_per_byte"]
    done = rungs.DoneRung(rung, validations[-1]["bits_per_byte"], finishes[-1]["seconds"], base)
    write_kept(rungs.rung_file(ladder.config, rung), done)
    return done


def backtest(ladder: rungs.Ladder, done: Sequence[rungs.DoneRung]) -> list[tuple[rungs.DoneRung, Band]]:
    """Return each larger rung, and the loss that the smaller ones alone would have forecast; of one size nothing."""
    places = range(rungs.LEAST_FITTED, len(done)) if ladder.config.init is None else ()
    return [(done[at], rungs.loss_by_rungs(ladder.config, done[:at], done[at].rung).band()) for at in places]


MOST_OF = 0.9  # of the share that was given: of less a line says why no more is taken
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

    chosen = prepare_ladder(name_of(run), [*overrides, *overrides_of(settings)], share, say)
    taken = sum(rung.seconds for rung in chosen.rungs) / chosen.target.seconds
    if share is not None and taken < MOST_OF * share:
        say(f"--share {share:g}: the rungs take {significant(taken, 2)} of the run's time; costlier ones tell no more")
    done = climb(chosen, make_display or (lambda config: ignore), _once(say))
    return None if done is None else _ladder_fields(chosen, done)


def _once(say: Say) -> Say:
    """Return what says of several rungs' lines, which are about one machine, each once."""
    from headwater.runs.training import NOT_LEARNED

    said = set[str]()

    def say_new(line: str) -> None:
        what = NOT_LEARNED if line.endswith(NOT_LEARNED) else line  # after a load that differs from rung to rung
        if what not in said:
            said.add(what)
            say(line)

    return say_new


def _ladder_fields(ladder: Ladder, done: Sequence[DoneRung]) -> dict[str, Any]:
    """Return what a finished ladder tells; the best rung is the baseline that a forecast must beat."""
    from headwater.plan.run_plan import plan_run

    plan, seconds = plan_run(ladder.config), sum(each.seconds for each in done)
    return {
        "name": ladder.config.name,
        "unit": "bits per byte",
        "seconds": seconds,
        "share": seconds / ladder.target.seconds,
        "rungs": [
            {
                **{name: getattr(each.rung, name) for name in ("name", "num_steps", "params", "tokens", "flops")},
                "num_layers": each.rung.model.num_layers,
                "d_model": each.rung.model.d_model,
                "planned_seconds": each.rung.seconds,
                "seconds": each.seconds,
                "loss": each.loss["all"],
                "loss_by_source": each.loss,
            }
            for each in done
        ],
        "forecast": plan["loss"],
        "from_base": plan["from_base"],
        "best_rung": min(each.loss["all"] for each in done),
        "backtest": [
            {"name": each.rung.name, **asdict(band), "fact": each.loss["all"]}
            | {"relative_error": each.loss["all"] / band.p50 - 1}
            for each, band in backtest(ladder, done)
        ],
        "plan": plan,
    }


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
