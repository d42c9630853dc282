"""headwater alone: the recipes, the runs here with their state, and what to type next. Imports nothing heavy."""

from __future__ import annotations

from importlib import resources
from typing import Any

from headwater.cli.terminal import safe
from headwater.runs.summary import RUNS, RunsFolder

EXAMPLES = (
    ("headwater run first-light", "a model of real text, in about five minutes"),
    ("headwater new mine --text FOLDER", "a run file for your own text"),
    ("headwater -h", "all verbs"),
)


def show() -> None:
    """Print the recipes, the runs in runs/ and three commands."""
    print("recipes")
    for path in sorted(_recipes(), key=lambda path: path.name):
        print(f"  {path.name.removesuffix('.toml'):<12} {_first_line(path)}")
    found = sorted(RunsFolder(RUNS).summaries(), key=lambda run: run.name)
    runs = [run for run in found if "/" not in run.name]  # no rungs of ladders
    print("\nruns here" if runs else "\nno runs here yet (they lie in runs/)")
    width = max([23, *(len(str(run.folder)) for run in runs)])
    for run in runs:
        print(safe(f"  {run.folder!s:<{width}}  {', step '.join(filter(None, run.cells[1:3]))}"))
    print("\ntry")
    for command, what in EXAMPLES:
        print(f"  {command:<33} {what}")


def _recipes() -> list[Any]:
    return [
        path for path in (resources.files("headwater.runfile") / "recipes").iterdir() if path.name.endswith(".toml")
    ]


def _first_line(path: Any) -> str:
    """Return the comment that a recipe begins with."""
    return str(path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# "))
