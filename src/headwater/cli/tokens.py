"""Verbs about tokens: tokens where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.arguments import AsJson, RunDir, print_json
from headwater.cli.terminal import safe
from headwater.errors import ConfigError


def add_to(app: typer.Typer) -> None:
    tokens = typer.Typer(help="See which text stands where in training.", no_args_is_help=True)
    tokens.callback()(_group)
    tokens.command("where")(where)
    app.add_typer(tokens, name="tokens")


def _group() -> None:
    """Keep `where` a word of its own while it is the only one."""


def where(
    run: RunDir,
    step: Annotated[int | None, typer.Option(help="What the model sees at this step, from 1.")] = None,
    row: Annotated[int | None, typer.Option(help="What stands in this row of the run, from 0.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the documents that the model sees at a step: source, id, title and tokens of each passage."""
    from headwater.recipes.run_config import config_of_run
    from headwater.recipes.where import where_rows, where_step

    config = config_of_run(Path(run))
    if step is not None and row is None:
        found = where_step(config, step)
    elif row is not None and step is None:
        found = {"rows": where_rows(config, range(row, row + 1))}
    else:
        raise ConfigError("say which: --step N (from 1) or --row N (from 0)")
    print_json(found) if as_json else _print_rows(found)


def _print_rows(found: dict[str, Any]) -> None:
    if found.get("skipped"):
        print("this step was skipped: its rows left no trace in the weights")
    for row in found["rows"]:
        print(f"row {row['row']:,} · {row['source']} · {_times(row['epoch'])}")
        for passage in row["passages"]:
            first, count = passage["first_token"], passage["num_targets"]
            of = f"tokens {first + 1:,} to {first + count:,} of {passage['num_tokens']:,}"
            title = f" · {passage['title']}" if passage["title"] else ""
            print(safe(f"  {passage['document']}{title} · {of}"))


def _times(epoch: int) -> str:
    return "first time" if epoch == 0 else f"time {epoch + 1}"
