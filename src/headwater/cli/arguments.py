"""Arguments that several verbs share, and their JSON output."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from headwater.errors import ConfigError

STOPPED_BY_SIGNAL = 75  # EX_TEMPFAIL: saved; the same command goes on

RunFile = Annotated[str, typer.Argument(metavar="RUN", help="A run file (mine.toml) or a named recipe (first-light).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings that replace those of the file.")
]
RunDir = Annotated[
    str, typer.Option("--run", "-r", metavar="FOLDER", help="Folder of a run, such as runs/first-light.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


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
