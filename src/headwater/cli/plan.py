"""headwater plan: what a run costs and which run a budget buys; and plan count."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headwater.cli.arguments import AsJson, require_none
from headwater.cli.terminal import print_json, table
from headwater.cli.verbs import App, Verb
from headwater.core.errors import ConfigError
from headwater.core.numbers import count as short

of_run = partial(typer.Option, rich_help_panel="Plan of a run")
of_budget = partial(typer.Option, rich_help_panel="Search over a budget")
of_both = partial(typer.Option, rich_help_panel="Both")
RunAndSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN] [setting=value ...]", help="A run (optional with --budget), and settings."),
]
MaxHours = Annotated[float | None, of_run(metavar="N", help="Report the probability of exceeding this many hours.")]
MaxMoney = Annotated[float | None, of_run(metavar="N", help="Report the probability of costing more dollars.")]
TargetLoss = Annotated[float | None, of_run(metavar="N", help="Report the probability of a higher loss.")]
NumRanks = Annotated[str, of_both(metavar="N", help="Plan for N ranks on this machine; 4x8: 8 on each of 4 machines.")]
Budget = Annotated[str, of_budget(metavar="AMOUNT", help="Money ('$10k') or time (2h, 90min, 3d).")]
Hardware = Annotated[
    str,
    of_both(metavar="NxDEVICE", help="Devices such as 8xH100 (else: this machine)."),
]
TextBytes = Annotated[str, of_budget(metavar="SIZE", help="How much text there is, such as 40G.")]
CostsFile = Annotated[Path | None, of_both(metavar="FILE", help="TOML with prices, power, site (docs/planning.md).")]
FinishedRuns = Annotated[
    Path | None, of_both(metavar="FILE", help="Runs to forecast the loss from (docs/planning.md).")
]
UnitOfLoss = Annotated[
    Literal["bits_per_byte", "nats_per_token"] | None, of_both(metavar="UNIT", help="Unit of the loss in --runs.")
]

NOTES = {"six_n": " (N: all active parameters, embeddings too)"}


def add_to(app: App) -> None:
    app.verb(plan)
    app.command("plan count", cls=Verb, hidden=True)(count)


def plan(
    what: RunAndSettings = None,
    max_hours: MaxHours = None,
    max_money: MaxMoney = None,
    target_loss: TargetLoss = None,
    ranks: NumRanks = "",
    budget: Budget = "",
    hardware: Hardware = "",
    text_bytes: TextBytes = "",
    costs: CostsFile = None,
    runs: FinishedRuns = None,
    loss_unit: UnitOfLoss = None,
    as_json: AsJson = False,
) -> None:
    """Forecast what a run costs, or find the best run for a budget.

    See also `headwater plan count -h` (parameters, FLOPs).
    """
    words, unit = what or [], loss_unit or "bits_per_byte"
    if runs is not None:
        _require_unit(runs, loss_unit)
    of_one = {"max_hours": max_hours, "max_money": max_money, "target_loss": target_loss}
    from headwater.plan.hardware import read_costs

    given = read_costs(costs)
    if given.hardware and not hardware:
        raise ConfigError("--costs: hardware counts with --hardware alone; name a device of it, or remove it")
    if budget:
        require_none("is for the plan of one run, without --budget", **of_one)
        from headwater.cli.plan_search import search, search_options

        run, overrides = (words[0], words[1:]) if words and "=" not in words[0] else (None, words)
        options = search_options(budget, run, overrides, hardware, ranks, text_bytes, runs, unit, given)
        named = {"--budget": budget, "--hardware": hardware, "--ranks": ranks, "--costs": costs, "--runs": runs}
        named["--loss-unit"] = loss_unit
        more = [word for name, value in named.items() if value for word in (name, str(value))]
        return search(options, shlex.join(["headwater", "plan", "mine.toml", *overrides, *more]), as_json)
    call = " ".join(["headwater plan --budget 2h", *map(shlex.quote, words), f"--text-bytes {shlex.quote(text_bytes)}"])
    require_none(f"needs --budget AMOUNT, money or time, such as: {call}", text_bytes=text_bytes)
    _require_a_run(words)
    from headwater.cli.plan_run import run as plan_one
    from headwater.plan.forecast.result import RunLimits
    from headwater.plan.run_plan import PlanOptions

    for name, value in of_one.items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"--{name.replace('_', '-')} {value:g}: give a number above zero")
    limits = RunLimits(max_hours, max_money, target_loss)
    plan_one(words[0], words[1:], PlanOptions(runs, unit, limits, given), ranks, hardware, as_json)


def _require_unit(runs: Path, loss_unit: str | None) -> None:
    if runs.suffix == ".toml":  # of a ladder
        if loss_unit == "nats_per_token":
            raise ConfigError(f"--runs {runs}: losses of a ladder are bits per byte; remove --loss-unit")
    elif loss_unit is None:
        if not runs.is_file():
            raise ConfigError(f"--runs: no such file: {runs}")
        raise ConfigError(f"--runs {runs}: say what its losses are: --loss-unit bits_per_byte or nats_per_token")


def _require_a_run(words: list[str]) -> None:
    if not words:
        raise ConfigError("name a run, such as `headwater plan first-light`, or a budget: `headwater plan --budget 2h`")


def count(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FOLDER] [setting=value ...]", help="A folder with a config.json, or settings."),
    ] = None,
    family: Annotated[
        str, typer.Option(metavar="NAME", help="A family: llama, qwen3, gpt2, or any of transformers.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SETTING=VALUE", help="A setting of the family; may be repeated."),
    ] = None,
    seq_len: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens in a sequence (default: the model's longest).", min=1),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count parameters and FLOPs per token, exactly.

    Of a folder with a config.json, or of a family and its settings.
    """
    from headwater.model.count import count_fields

    model = _model(what or [], family, settings or [])
    if seq_len is not None:
        model = replace(model, seq_len=seq_len)
    fields = count_fields(model)
    print_json(fields) if as_json else _print_count(fields)


def _model(what: list[str], family: str, settings: list[str]) -> Any:
    """Return the count of the folder or the family that is named."""
    folders = [text for text in what if "=" not in text]
    changes = settings + [text for text in what if "=" in text]
    if len(folders) != (0 if family else 1) or (folders and changes):
        raise ConfigError(
            "name one folder with a config.json, or a family and its settings: `headwater plan count FOLDER`, or "
            "`headwater plan count --family llama --set num_layers=32 --set d_model=4096 …`"
        )
    from typing import get_args

    from headwater.cli.family import own_family
    from headwater.model.count import count_model
    from headwater.model.settings import Family
    from headwater.runfile.given import Given

    if family in get_args(Family):
        return count_model(own_family(family, changes))
    from headwater.model.hf_count import count_hf_family, count_hf_file

    if folders:
        return count_hf_file(Path(folders[0]))
    given = Given()
    for change in changes:
        given = given.with_override(change)
    return count_hf_family(family, dict(given.table))


def _print_count(fields: dict[str, Any]) -> None:
    names = ("params", "active_params", "embedding_params", "matmul_params")
    table([(name, f"{fields[name]:,}") for name in names])
    print(f"FLOPs per token at {fields['seq_len']} tokens a sequence:")
    found = fields["flops_per_token"].items()
    table([(f"  {name}", f"{short(value)}{NOTES.get(name, '')}") for name, value in found], "<<")
