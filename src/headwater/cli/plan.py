"""Verbs about cost: plan RUN, plan --budget, plan count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.arguments import AsJson, print_json
from headwater.cli.plan_group import SEARCH, VERB, PlanGroup
from headwater.cli.plan_run import run
from headwater.cli.plan_search import search
from headwater.cli.terminal import safe
from headwater.cli.track_record import TRACK_RECORD, track_record
from headwater.errors import ConfigError
from headwater.report.numbers import count as short


def add_to(app: typer.Typer) -> None:
    """Add `plan` with its verbs, any word that is none being a run; nothing heavy is loaded."""
    plan = typer.Typer(
        cls=PlanGroup,
        help="Forecast what a run costs, or find the best run for a budget.",
        no_args_is_help=True,
    )
    plan.command(VERB)(run)
    plan.command(TRACK_RECORD)(track_record)
    plan.command(SEARCH)(search)
    plan.command("count")(count)
    app.add_typer(plan, name="plan")


def count(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[FOLDER] [a=b]...", help="A folder with a config.json, or settings.")
    ] = None,
    family: Annotated[str, typer.Option(help="A family, such as llama, gpt2, qwen3, mixtral or deepseek_v3.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="a=b", help="A setting of the family; may be repeated.")
    ] = None,
    seq_len: Annotated[int | None, typer.Option(help="Tokens in a row, where it isn't the longest.", min=1)] = None,
    recompute: Annotated[str, typer.Option(help="Recomputed in the backward pass: none, selective or full.")] = "none",
    as_json: AsJson = False,
) -> None:
    """Count parameters and FLOPs per token, exactly, from a config.json or from a family's settings."""
    from headwater.plan.count import count_fields

    shape = _shape(what or [], family, settings or [])
    if seq_len is not None:
        from dataclasses import replace

        shape = replace(shape, seq_len=seq_len)
    fields = count_fields(shape, _recompute(recompute))
    print_json(fields) if as_json else _print_count(fields)


def _shape(what: list[str], family: str, settings: list[str]) -> Any:
    from headwater.plan.family import shape_of_family
    from headwater.plan.hf_config import read_hf_config

    folders = [text for text in what if "=" not in text]
    changes = settings + [text for text in what if "=" in text]
    if family and not folders:
        return shape_of_family(family, changes)
    if len(folders) != 1 or family or changes:
        raise ConfigError(
            "name one folder with a config.json, or a family and its settings: headwater plan count FOLDER, or "
            "headwater plan count --family llama --set num_layers=32 --set d_model=4096 …"
        )
    return read_hf_config(Path(folders[0]))


def _recompute(name: str) -> Any:
    from headwater.plan.count import RECOMPUTES

    if name not in RECOMPUTES:
        raise ConfigError(f"--recompute {name} is none of {', '.join(RECOMPUTES)}")
    return name


def _print_count(fields: dict[str, Any]) -> None:
    for name in ("params", "active_params", "embedding_params", "matmul_params"):
        print(f"{name:<18} {fields[name]:>20,}")
    print(f"FLOPs per token at {fields['seq_len']} tokens a row:")
    for name, value in fields["flops_per_token"].items():
        note = f" (recompute: {fields['recompute']})" if name == "hardware" else ""
        print(safe(f"  {name:<16} {short(value):>10}{note}"))
