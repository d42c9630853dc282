"""Arguments that several verbs share, and their JSON output."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

RunFile = Annotated[str, typer.Argument(metavar="RUN", help="A run file (mine.toml) or a named recipe (first-light).")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings that replace those of the file.")
]
RunDir = Annotated[str, typer.Option("--run", "-r", metavar="FOLDER", help="Folder of a run, such as runs/first-light.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")
