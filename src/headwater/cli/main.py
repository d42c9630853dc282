"""The command line: one function a verb; each parses, calls and prints. Heavy imports wait until a verb runs."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import typer

from headwater import disk
from headwater.cli import data, ladder, law, mixture, model, plan, tokens, training
from headwater.cli.terminal import safe
from headwater.errors import HeadwaterError

INTERRUPTED = 130  # by SIGINT, as shells say it

app = typer.Typer(
    name="headwater",
    help="From raw text to a foundation model: corpus, tokenizer, training, evaluation, export, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
training.add_to(app)
data.add_to(app)
tokens.add_to(app)
model.add_to(app)
plan.add_to(app)
ladder.add_to(app)
law.add_to(app)
mixture.add_to(app)


def main() -> None:
    """Run one verb; an error that the user can act on is printed without a traceback."""
    # what makes matmuls on a GPU deterministic; read when torch first multiplies there
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # torch then asks the system for large pages: steps are 3 to 4 % shorter (docs/log.md)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # a terminal that isn't UTF-8 shows an escape where it has no character
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if faults := os.environ.get("HEADWATER_FAULTS"):  # for tests: see headwater.disk
            disk.install(disk.FaultPlan.parse(faults))
        app()
    except HeadwaterError as error:
        _fail(str(error), error.exit_status)
    except BrokenPipeError:
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # outside of training, where a signal saves
            _fail("interrupted; the same command goes on from what is done", INTERRUPTED)
        raise
    except OSError as error:
        # of a file that no stage expects to fail; those that do say more
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)


def _fail(message: str, exit_status: int) -> NoReturn:
    print(f"headwater: {safe(message)}", file=sys.stderr)
    sys.exit(exit_status)
