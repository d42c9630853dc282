"""headwater plan RUN: what a run will cost here and how good it will be, before its first step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.arguments import AsJson, Overrides, RunFile, print_json, say_beside
from headwater.cli.terminal import carbon_interval, card, energy_interval, hours_interval, interval
from headwater.report.numbers import count

LIMITS, MACHINE, LOSS = "Limits", "This machine", "Loss"
"Headings of the options in the help of `headwater plan`."
Site = Annotated[
    str,
    typer.Option(
        help="A site of the table, whose PUE and carbon count; none: nothing for cooling, average carbon.",
        rich_help_panel=MACHINE,
    ),
]
Sites = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A table of sites instead of ours.", rich_help_panel=MACHINE)
]


def run(
    run: RunFile,
    overrides: Overrides = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Measure the run's own step here, for a minute at most.", rich_help_panel=MACHINE),
    ] = False,
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Finished runs (params, tokens, loss) to forecast the loss from.", rich_help_panel=LOSS
        ),
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option(help="Say how likely the run takes longer.", rich_help_panel=LIMITS)
    ] = None,
    max_money: Annotated[
        float | None, typer.Option(help="Say how likely the run costs more.", rich_help_panel=LIMITS)
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option(help="Say how likely the run misses this loss.", rich_help_panel=LIMITS)
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(help="US dollars an hour of this machine.", rich_help_panel=MACHINE)
    ] = None,
    watts: Annotated[
        float | None, typer.Option(help="What this machine draws in training.", rich_help_panel=MACHINE)
    ] = None,
    site: Site = "",
    sites: Sites = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Draw the plan on a page of its own.")] = None,
    loss_unit: Annotated[
        str, typer.Option(help="Unit of the loss in --runs: bits_per_byte or nats_per_token.", rich_help_panel=LOSS)
    ] = "bits_per_byte",
    as_json: AsJson = False,
) -> None:
    """Forecast hours, money, energy, carbon, memory and loss of a run on this machine, each with its interval."""
    from headwater.recipes.planning import Questions, loss_unit_of, plan_run, require_fits, with_ladder
    from headwater.recipes.run_config import load_run

    say = say_beside(as_json)
    config, _ = load_run(run, overrides or [])
    asked = Questions(
        runs, loss_unit_of(loss_unit), max_hours, max_money, target_loss, price_per_hour, watts, site, sites
    )
    asked = with_ladder(config, asked)
    result = plan_run(config, asked)
    if probe:
        from headwater.recipes.probe import probe as measure

        require_fits(result)
        say("measuring the run's own step here, for a minute at most")
        result = plan_run(config, asked, measure(config, result["step_seconds"], say))
    if page is not None:
        from headwater.report.plan import write_plan_page

        write_plan_page(page, result)
        say(f"page: {page}")
    print_json(result) if as_json else _print(result)


def _print(result: dict[str, Any]) -> None:
    card(f"plan · {result['name']}", plan_card(result), sys.stdout)


def plan_card(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of the card: medians, P10 to P90, and where each number comes from."""
    counts, how = result["counts"], result["how"]
    lines = [
        (
            "run",
            f"{count(counts['params'])} parameters, {count(counts['tokens'])} tokens "
            f"({counts['tokens_per_parameter']:.1f} a parameter), {counts['flops']:.2e} FLOPs"
            + (f"; text read {counts['epochs']:.2g} times at most" if counts["epochs"] else ""),
        ),
        ("time", hours_interval(result["hours"])),
        ("", how["hours"]),
        ("memory", interval(result["memory_gib"], "GiB")),
        ("", how["memory_gib"]),
        ("energy", energy_interval(result["energy_kwh"])),
        ("carbon", carbon_interval(result["kg_co2"])),
        ("", how["energy_kwh"]),
        ("money", interval(result["money"], "USD") if result["money"] else how["money"]),
        ("loss", interval(result["loss"], result["loss_unit"].replace("_", " ")) if result["loss"] else how["loss"]),
    ]
    lines += [("chance", text) for text in _chances(result)]
    return lines + [("note", note) for note in [*_unsaid(result), *result["notes"]]]


def _unsaid(result: dict[str, Any]) -> list[str]:
    """Return why a chance that was asked for isn't said."""
    asked = {"over_max_money": ("max_money", "money"), "misses_target_loss": ("target_loss", "loss")}
    return [
        f"how likely it breaks --{limit.replace('_', '-')} isn't known: {result['how'][quantity]}"
        for name, (limit, quantity) in asked.items()
        if result["limits"][limit] is not None and result["probabilities"][name] is None
    ]


def _chances(result: dict[str, Any]) -> list[str]:
    limits, said = result["limits"], []
    named = {
        "over_max_hours": ("max_hours", "to take more than {:g} hours"),
        "over_max_money": ("max_money", "to cost more than {:g}"),
        "misses_target_loss": ("target_loss", "to miss a loss of {:g}"),
        "over_memory": ("memory_bytes", "not to fit into the memory"),
    }
    for name, (limit, text) in named.items():
        chance = result["probabilities"][name]
        if chance is not None:
            said.append(f"{chance:.0%} {text.format(limits[limit])}")
    return said
