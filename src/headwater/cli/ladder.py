"""headwater ladder RUN: small runs, the law they show, and what it says of the run."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.arguments import STOPPED_BY_SIGNAL, AsJson, Overrides, RunOrNone, require_none
from headwater.cli.terminal import card, hours_interval, print_json, say_beside, table
from headwater.cli.verbs import App
from headwater.core.errors import ConfigError
from headwater.core.numbers import count, duration, significant

if TYPE_CHECKING:
    from headwater.plan.rungs import DoneRung, Ladder


of_runs = partial(typer.Option, rich_help_panel="Small runs of RUN")
of_table = partial(typer.Option, rich_help_panel="Or a table of finished runs")
Share = Annotated[
    float | None,
    of_runs(metavar="X", help="Their time together at most, over RUN's (default: 0.4, more if RUN is short)."),
]
Table = Annotated[Path | None, of_table("--table", metavar="CSV", help="Finished runs: columns params, tokens, loss.")]
At = Annotated[list[str] | None, of_table(metavar="PARAMS,TOKENS[,EPOCHS]", help="Forecast this run; may be repeated.")]
LossColumn = Annotated[str, of_table(metavar="NAME", help="Column to fit, such as one source's loss.")]
MOST_OF = 0.9  # of the share that was given: of less a line says why no more is taken
Flops = Annotated[float | None, of_table(metavar="FLOPS", help="Print the best size for this compute, such as 1e21.")]


def add_to(app: App) -> None:
    app.verb(ladder)


def ladder(
    run: RunOrNone = None,
    overrides: Overrides = None,
    share: Share = None,
    runs: Table = None,
    at: At = None,
    loss_column: LossColumn = "loss",
    budget: Flops = None,
    as_json: AsJson = False,
) -> None:
    """Train small runs; forecast the loss and time of a large one.

    Of a run from a base they are short runs of it: of 1/16, 1/8 and 1/4 of its tokens. Run the same command to resume.
    With --table, fit a scaling law to finished runs and forecast from it.
    """
    if runs is not None:
        if run is not None:
            raise ConfigError(f"--table fits {runs} alone; remove {run}")
        require_none("is for the small runs of RUN; remove it or --table", share=share)
        from headwater.cli.law import fit_table

        return fit_table(runs, at or [], loss_column, budget, as_json)
    if run is None:
        raise ConfigError(
            "name a run, as in `headwater ladder first-light`, or a table: `headwater ladder --table CSV`"
        )
    column = None if loss_column == "loss" else loss_column
    require_none("needs --table CSV", at=at or None, loss_column=column, budget=budget)
    from headwater.cli.progress import TrainingDisplay
    from headwater.runs.ladder import climb, prepare_ladder

    say, out = say_beside(as_json), sys.stderr if as_json else sys.stdout
    chosen = prepare_ladder(run, overrides or [], share, say)
    taken = sum(rung.seconds for rung in chosen.rungs) / chosen.target.seconds
    if share is not None and taken < MOST_OF * share:
        say(f"--share {share:g}: the rungs take {significant(taken, 2)} of the run's time; costlier ones tell no more")
    done = climb(chosen, lambda config: TrainingDisplay(config.train, config.train.num_steps, out), _once(say))
    if done is None:
        sys.exit(STOPPED_BY_SIGNAL)
    result = ladder_fields(chosen, done)
    return print_json(result) if as_json else _print(result, shlex.join(["headwater", "run", run, *(overrides or [])]))


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Return what says of several rungs' lines, which are about one machine, each once."""
    from headwater.runs.training import NOT_LEARNED

    said = set[str]()

    def say_new(line: str) -> None:
        what = NOT_LEARNED if line.endswith(NOT_LEARNED) else line  # after a load that differs from rung to rung
        if what not in said:
            said.add(what)
            say(line)

    return say_new


def _print(result: dict[str, Any], after: str) -> None:
    rows = [("layers × width − steps", "params", "tokens", "FLOPs", "took", "held-out bits per byte")]
    for rung in result["rungs"]:
        sizes = count(rung["params"]), count(rung["tokens"]), f"{rung['flops']:.2e}"
        rows.append((rung["name"], *sizes, duration(rung["seconds"]), f"{rung['loss']:.4f}"))
    table(rows)
    print()
    took = f"{duration(result['seconds'])}, {result['share']:.0%} of the time that is forecast for the run"
    card(f"ladder · {result['name']}", [*_lines(result), ("took", took), ("next", after)])


def _lines(result: dict[str, Any]) -> list[tuple[str, str]]:
    if result["from_base"] is not None:
        from headwater.cli.plan_run import lines_from_base

        return lines_from_base(result["from_base"])
    plan, best = result["plan"], min(result["rungs"], key=lambda rung: rung["loss"])
    loss = f"no forecast: {plan['how']['loss']}"
    if plan["loss"] is not None:
        loss = f"{_width(plan['loss'])} bits per byte, P10 to P90"
    lines = [("held-out loss", loss), ("best rung", f"{best['loss']:.4f} held-out bits per byte, {best['name']}")]
    lines.append(("time", f"{hours_interval(plan['hours'])}, {plan['how']['hours']}"))
    for cut in result["backtest"]:
        measured = f"measured {cut['fact']:.4f} ({cut['relative_error']:+.1%})"
        lines.append(("back-test", f"{cut['name']} from the smaller rungs alone: {_width(cut)}, {measured}"))
    return lines


def _width(band: dict[str, Any]) -> str:
    width, middle = (band["p90"] / band["p10"]) ** 0.5 - 1, significant(band["p50"], 4)
    return f"{middle} (± {width:.1%})" if math.isfinite(width) else middle


def ladder_fields(ladder: Ladder, done: Sequence[DoneRung]) -> dict[str, Any]:
    """Return what `headwater ladder RUN --json` prints; the best rung is the baseline that a forecast must beat."""
    from headwater.plan.run_plan import PlanOptions, plan_run
    from headwater.runs.ladder import backtest

    plan, seconds = plan_run(ladder.config, PlanOptions()).fields(), sum(each.seconds for each in done)
    return {
        "name": ladder.config.name,
        "unit": "bits per byte",
        "seconds": seconds,
        "share": seconds / ladder.target.seconds,
        "rungs": [_rung_fields(rung) for rung in done],
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


def _rung_fields(done: DoneRung) -> dict[str, Any]:
    rung, names = done.rung, ("name", "num_steps", "params", "tokens", "flops")
    return {
        **{name: getattr(rung, name) for name in names},
        "num_layers": rung.model.num_layers,
        "d_model": rung.model.d_model,
        "planned_seconds": rung.seconds,
        "seconds": done.seconds,
        "loss": done.loss["all"],
        "loss_by_source": done.loss,
    }
