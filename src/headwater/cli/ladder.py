"""headwater ladder RUN: small runs, the law they show, and what it says of the run."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.arguments import STOPPED_BY_SIGNAL, AsJson, Overrides, RunFile, print_json, say_beside
from headwater.cli.terminal import SmallRunDisplay, card, hours_interval, interval
from headwater.cli.verbs import App
from headwater.durations import duration
from headwater.report.numbers import count, significant

if TYPE_CHECKING:
    from headwater.recipes.run_config import RunConfig


WORTHWHILE = 0.95
"Of the band that is left by one more run: a run that narrows it less isn't advised."


def add_to(app: App) -> None:
    app.verb(ladder)


def ladder(
    run: RunFile,
    overrides: Overrides = None,
    share: Annotated[
        float | None, typer.Option(help="Time of the small runs as a share of the run's own (0.25 unless --minutes).")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Time of the small runs.")] = None,
    rungs: Annotated[int | None, typer.Option(help="How many small runs (6, and no fewer).")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained; prepare no text, train and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train small runs; forecast the loss and time of a large one.

    Run the same command to resume.
    """
    from headwater.recipes.ladder import climb, prepare_ladder
    from headwater.recipes.ladder_design import LadderWishes
    from headwater.recipes.ladder_forecast import ladder_result

    wishes = LadderWishes(minutes, share) if rungs is None else LadderWishes(minutes, share, rungs)
    if dry_run:
        from headwater.recipes.ladder_foreseen import foreseen_ladder

        foreseen = foreseen_ladder(run, overrides or [], wishes)
        print_json(foreseen) if as_json else _print_foreseen(foreseen)
        return
    say, out = say_beside(as_json), sys.stderr if as_json else sys.stdout
    chosen = prepare_ladder(run, overrides or [], wishes, say)
    done = climb(chosen, lambda config: SmallRunDisplay(config.train, config.train.num_steps, out), say)
    if done is None:
        _say_what_is_left(chosen.config, say)
        sys.exit(STOPPED_BY_SIGNAL)
    result = ladder_result(chosen, done)
    print_json(result) if as_json else _print(result, str(chosen.config.run_dir / "ladder" / "runs.csv"))


def _say_what_is_left(config: RunConfig, say: Callable[[str], None]) -> None:
    from headwater.recipes.ladder_record import begun_ladder
    from headwater.recipes.planned_loss import begun_outlook

    begun = begun_ladder(config)
    if begun is None:
        return
    found = begun_outlook(config, begun)
    if found.spread is not None:
        say(f"bits per byte of the run so far: {interval(found.spread.band(), '')}, 8 in 10 to fall inside")
    say(found.how)


def _print_foreseen(foreseen: dict[str, Any]) -> None:
    print(f"{'rung':<14} {'params':>8} {'tokens':>8} {'FLOPs':>9} {'about':>9}")
    for rung in foreseen["rungs"]:
        sizes = f"{count(rung['params']):>8} {count(rung['tokens']):>8} {rung['flops']:9.2e}"
        print(f"{rung['name']:<14} {sizes} {duration(rung['seconds']):>9}{'  trained' if rung['is_trained'] else ''}")
    total, run_seconds = sum(rung["seconds"] for rung in foreseen["rungs"]), foreseen["run_seconds"]
    print(f"together {duration(total)}, {total / run_seconds:.0%} of the run's own {duration(run_seconds)}")
    for note in foreseen["notes"]:
        print(note)


def _print(result: dict[str, Any], table: str) -> None:
    print(f"{'rung':<14} {'params':>8} {'tokens':>8} {'FLOPs':>9} {'took':>9}  bits per byte")
    for rung in result["rungs"]:
        sizes = f"{count(rung['params']):>8} {count(rung['tokens']):>8} {rung['flops']:9.2e}"
        print(f"{rung['name']:<14} {sizes} {duration(rung['seconds']):>9}  {rung['loss']:.4f}")
    print()
    card(f"ladder · {result['name']}", _lines(result, table), sys.stdout)


def _lines(result: dict[str, Any], table: str) -> list[tuple[str, str]]:
    forecast, plan = result["forecast"], result["plan"]
    inside = "" if forecast["all"]["p50"] is None else ", nine in ten to fall inside"
    lines = [("loss", _loss(forecast["all"]) + inside)]
    by_source = [f"{name} {_loss(found)}" for name, found in forecast.items() if name != "all"]
    if len(by_source) > 1:
        lines.append(("", "; ".join(by_source)))
    lines.append(("time", f"{hours_interval(plan['hours'])}, {plan['how']['hours'].split(';')[0]}"))
    for cut in result["backtest"]:
        lines.append(
            (
                "back-test",
                f"{cut['name']} from the smaller rungs alone: {_loss(cut)}, measured {cut['fact']:.4f} "
                f"({cut['relative_error']:+.1%})",
            )
        )
    if result["another"] and result["another"]["narrows_to"] < WORTHWHILE:
        more, name = result["another"], result["another"]["name"]
        lines.append(
            (
                "one more",
                f"a ladder with {name}, too ({duration(more['seconds'])}), would have {more['narrows_to']:.0%} of "
                "this band",
            )
        )
    took = f"{duration(result['seconds'])}, {result['share']:.0%} of the run's own time"
    return [*lines, ("took", took), ("next", f"headwater law fit {shlex.quote(table)} --page law.html")]


def _loss(found: dict[str, Any]) -> str:
    if found["p50"] is None:
        return f"no forecast: {found['refused']}"
    width = (found["p95"] / found["p5"]) ** 0.5 - 1
    return f"{significant(found['p50'], 4)} (± {width:.1%})" if math.isfinite(width) else significant(found["p50"], 4)
