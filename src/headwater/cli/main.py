"""The command line: one function a verb; each parses, calls and prints. Heavy imports wait until a verb runs."""

from __future__ import annotations

import sys

import typer

from headwater.cli import data, model, training
from headwater.cli.terminal import safe
from headwater.errors import HeadwaterError

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
model.add_to(app)


def main() -> None:
    """Run one verb; an error that the user can act on is printed without a traceback."""
    try:
        app()
    except HeadwaterError as error:
        print(f"headwater: {safe(str(error))}", file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
