"""headwater plan: what a run costs and which run a budget buys; and plan count."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headwater.cli.terminal import print_json, table
from headwater.cli.verbs import App, AsJson, Verb, argument, option
from headwater.core.errors import ConfigError
from headwater.core.numbers import count as short

of_run = partial(typer.Option, rich_help_panel="Plan of a run")
of_budget = partial(typer.Option, rich_help_panel="Search over a budget")
of_both = partial(typer.Option, rich_help_panel="Both")
RunAndSettings = Annotated[
    list[str] | None, argument("[RUN] [setting=value ...]", "A run (optional with --budget), and settings.")
]
MaxHours = Annotated[float | None, of_run(metavar="N", help="Report the probability of exceeding this many hours.")]
MaxMoney = Annotated[float | None, of_run(metavar="N", help="Report the probability of costing more dollars.")]
TargetLoss = Annotated[float | None, of_run(metavar="N", help="Report the probability of a higher loss.")]
NumRanks = Annotated[str, of_both(metavar="N", help="Plan for N ranks on this machine; 4x8: 8 on each of 4 machines.")]
Budget = Annotated[str, of_budget(metavar="AMOUNT", help="Money ('$10k') or time (2h, 90min, 3d).")]
Hardware = Annotated[str, of_both(metavar="NxDEVICE", help="Devices such as 8xH100 (else: this machine).")]
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
    from headwater.cli.plan_cards import print_budget, print_plan
    from headwater.runs.library import planning

    words = what or []
    run, overrides = (words[0], words[1:]) if words and ("=" not in words[0] or not budget) else (None, words)
    result = planning.plan(
        run,
        budget=budget,
        hardware=hardware,
        ranks=ranks,
        text_bytes=text_bytes,
        costs=costs,
        runs=runs,
        loss_unit=loss_unit,
        max_hours=max_hours,
        max_money=max_money,
        target_loss=target_loss,
        overrides=overrides,
    )
    if as_json:
        print_json(result)
    elif budget:
        print_budget(result)
    else:
        print_plan(result, shlex.join(["headwater", "ladder", *words]))


def count(
    what: Annotated[
        list[str] | None, argument("[FOLDER] [setting=value ...]", "A folder with a config.json, or settings.")
    ] = None,
    family: Annotated[str, option("NAME", "A family: llama, qwen3 or gpt2.")] = "",
    settings: Annotated[
        list[str] | None, option("SETTING=VALUE", "A setting of the family; may be repeated.", "--set")
    ] = None,
    seq_len: Annotated[int | None, option("N", "Tokens in a sequence (default: the model's longest).", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Count parameters and FLOPs per token, exactly.

    Of a folder with a config.json, or of a family and its settings.
    """
    from headwater.runs.library.planning import counted

    folders = [text for text in what or [] if "=" not in text]
    changes = [*(settings or []), *(text for text in what or [] if "=" in text)]
    if len(folders) != (0 if family else 1) or (folders and changes):
        raise ConfigError(
            "name one folder with a config.json, or a family and its settings: `headwater plan count FOLDER`, or "
            "`headwater plan count --family llama --set num_layers=32 --set d_model=4096 …`"
        )
    fields = counted(Path(folders[0]) if folders else None, family, changes, seq_len)
    print_json(fields) if as_json else _print_count(fields)


def _print_count(fields: dict[str, Any]) -> None:
    names = ("params", "active_params", "embedding_params", "matmul_params")
    table([(name, f"{fields[name]:,}") for name in names])
    print(f"FLOPs per token at {fields['seq_len']} tokens a sequence:")
    found = fields["flops_per_token"].items()
    table([(f"  {name}", f"{short(value)}{NOTES.get(name, '')}") for name, value in found], "<<")
