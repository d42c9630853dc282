"""headwater alone: the recipes, the runs here with their state, and what to type next. Imports nothing heavy."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from headwater.cli.terminal import safe
from headwater.core.errors import ConfigError
from headwater.runs.summary import RunsFolder

RUNS = Path("runs")

EXAMPLES = (
    ("headwater run first-light", "a model of real text, in about five minutes"),
    ("headwater new mine --text FOLDER", "a run file for your own text"),
    ("headwater -h", "all verbs"),
)


def folder_of_runs(folder: Path, may_be_missing: bool = False) -> Path:
    """Return a folder of runs, or one run's, also by its name in runs/; raise ConfigError where there is none."""
    found = folder if folder.exists() else RUNS / folder
    if found.is_dir():
        return found
    if found.exists():
        raise ConfigError(f"{folder} is a file; name a folder of runs, or one run's")
    if may_be_missing:
        return folder
    raise ConfigError(f"there is no folder {folder}; name a folder of runs, or one run's")


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
