"""The verb ladder: small runs and what they say of a run; or the law that a table of finished runs shows."""

from __future__ import annotations

import math
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.terminal import card, hours_interval, print_json, say, say_beside, table
from headwater.cli.verbs import STOPPED_BY_SIGNAL, App, AsJson, Overrides, RunOrNone
from headwater.core.numbers import apart, count, duration, significant

if TYPE_CHECKING:
    from headwater.runfile.run_config import RunConfig


of_runs = partial(typer.Option, rich_help_panel="Small runs of RUN")
of_table = partial(typer.Option, rich_help_panel="Or a table of finished runs")
Share = Annotated[
    float | None,
    of_runs(metavar="X", help="Their time together at most, over RUN's (default: 0.4, more if RUN is short)."),
]
Table = Annotated[Path | None, of_table("--table", metavar="CSV", help="Finished runs: columns params, tokens, loss.")]
At = Annotated[list[str] | None, of_table(metavar="PARAMS,TOKENS[,EPOCHS]", help="Forecast this run; may be repeated.")]
LossColumn = Annotated[str, of_table(metavar="NAME", help="Column to fit, such as one source's loss.")]
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
    from headwater.cli.progress import TrainingDisplay
    from headwater.runs.library import ladder as library

    def display(config: RunConfig) -> TrainingDisplay:
        return TrainingDisplay(config.train, config.train.num_steps, sys.stderr if as_json else sys.stdout)

    say = say_beside(as_json)
    result = library.ladder(
        run,
        share=share,
        table=runs,
        at=at or [],
        loss_column=loss_column,
        budget=budget,
        say=say,
        make_display=display,
        overrides=overrides or [],
    )
    if result is None:
        sys.exit(STOPPED_BY_SIGNAL)
    if as_json:
        print_json(result)
    elif runs is not None:
        _print_law(result)
    else:
        _print_ladder(result, shlex.join(["headwater", "run", run or "", *(overrides or [])]))


def _print_ladder(result: dict[str, Any], after: str) -> None:
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
        from headwater.cli.plan_cards import lines_from_base

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


# ---- of a table


def _print_law(result: dict[str, Any]) -> None:
    absent = [warning["says"] for warning in result["warnings"] if warning["code"] == "no_law"]
    if absent:
        return say(f"{result['num_points']} runs, no forecast: {absent[0]}")
    print(
        f"plain Huber fit, the baseline: loss = {result['E']:.4f} + {result['A']:.5g} / params^{result['alpha']:.4f} "
        f"+ {result['B']:.5g} / tokens^{result['beta']:.4f}"
    )
    cuts = result["backtest"]["num_cuts"]
    print(f"{result['num_points']} runs, {cuts} cuts back-tested, {result['seconds']:.2f} s\n")
    print("exponents where runs of like size count as related (P10 to P90):")
    for name, found in result["exponent_intervals"].items():
        low, likeliest, high = apart(found["p10"], found["likeliest"], found["p90"])
        print(f"{name:<6} {likeliest} ({low} to {high})")
    _print_optimum(result["optimum"])
    repetition = result["repetition"]
    if repetition["max_epochs"] > 1:
        factor = math.exp(repetition["log_deviation"])
        print(
            f"runs of up to {repetition['max_epochs']:.2g} epochs: the cost of repetition is taken out of the law "
            f"(strength {repetition['strength']:.2g}, known to a factor of {factor:.2g})"
        )
    if result.get("forecasts"):
        _print_forecasts(result["forecasts"])
    for warning in _warnings(result):
        say(f"note: {warning}")


def _print_forecasts(forecasts: list[dict[str, Any]]) -> None:
    losses = ("p10", "p50", "p90", "curve")
    rows = [["params", "tokens", "epochs", *losses]]
    for found in forecasts:
        shown = ("–" if "refused" in found else f"{found[name]:.4f}" for name in losses)
        rows.append([count(found["params"]), count(found["tokens"]), f"{found.get('epochs', 1):g}", *shown])
    print()
    table(rows, "")
    print(
        "note: p50 is not the curve of the law: it averages over exponents that the runs leave open, and follows "
        "nearby runs"
    )


def _sizes(found: dict[str, Any]) -> str:
    return f"{count(found['params'])} parameters, {count(found['tokens'])} tokens"


def _print_optimum(found: dict[str, Any]) -> None:
    place = f"best size for {found['flops']:.3g} FLOPs:"
    if "refused" in found:
        return print(f"{place} no answer: {found['refused']}")
    print(f"{place} {_sizes(found)} (parameters {count(found['params_p10'])} to {count(found['params_p90'])})")


def _warnings(result: dict[str, Any]) -> list[str]:
    texts = [warning["says"] for warning in result["warnings"]]
    for found in result.get("forecasts", []):
        if "refused" in found:
            texts.append(f"{_sizes(found)}: no forecast: {found['refused']}")
        texts += [f"{_sizes(found)}: {warning['says']}" for warning in found.get("warnings", [])]
    return list(dict.fromkeys(texts))
