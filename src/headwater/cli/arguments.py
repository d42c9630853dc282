"""Arguments that several verbs share, and their JSON output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from headwater.cli.terminal import say, say_aside
from headwater.errors import ConfigError

STOPPED_BY_SIGNAL = 75  # EX_TEMPFAIL: saved; the same command resumes

A_RUN = "A recipe (first-light), a run file (mine.toml) or a run folder (runs/mine)."
RunFile = Annotated[str, typer.Argument(metavar="RUN", help=A_RUN)]
RunOrNone = Annotated[str | None, typer.Argument(metavar="RUN", help=A_RUN)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[setting=value ...]", help="Settings for this call, such as train.num_steps=200."),
]
RunOption = Annotated[str, typer.Option("--run", "-r", metavar="RUN", help=A_RUN)]
SameRun = Annotated[str | None, typer.Option("--run", "-r", metavar="RUN", help="The same as RUN.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def one_run(argument: str | None, option: str | None) -> str:
    """Return the run that is named once, as the argument or by --run."""
    named = [name for name in (argument, option) if name is not None]
    if len(named) != 1:
        raise ConfigError(f"name one run, such as runs/mine; {len(named) or 'none'} was named")
    return named[0]


def say_beside(as_json: bool) -> Callable[[str], None]:
    """Return what prints lines of progress: on standard output, or on standard error where that holds JSON alone."""
    return say_aside if as_json else say


def unicode_text(text: str) -> str:
    """Return a text from the command line; raise ConfigError when its bytes weren't text in the terminal's encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the text {text!a} is not UTF-8; models here read Unicode text") from None
    return text


def text_or_none(text: str | None) -> str | None:
    return None if text is None else unicode_text(text)


def print_json(value: Any) -> None:
    """Print one JSON object; where the output can't hold every character, with escapes for all but ASCII."""
    is_unicode = (sys.stdout.encoding or "ascii").lower().replace("-", "").startswith("utf")
    json.dump(value, sys.stdout, ensure_ascii=not is_unicode)
    sys.stdout.write("\n")
