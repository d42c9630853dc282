"""headwater alone: the recipes, the runs here with their state, and what to type next. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import socket
from importlib import resources
from pathlib import Path
from typing import Any

from headwater.cli.terminal import safe

RUNS = Path("runs")
TAIL_BYTES = 1 << 18
"Of a run's records: its last lines, the samples among them."

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
    runs = sorted(path for path in RUNS.glob("*") if (path / "config.json").is_file() or (path / "data").is_dir())
    print("\nruns here" if runs else "\nno runs here yet (they lie in runs/)")
    for run_dir in runs:
        print(safe(f"  {run_dir!s:<24} {state_of(run_dir)}"))
    print("\ntry")
    for command, what in EXAMPLES:
        print(f"  {command:<33} {what}")


def _recipes() -> list[Any]:
    return [path for path in (resources.files("headwater") / "recipes").iterdir() if path.name.endswith(".toml")]


def _first_line(path: Any) -> str:
    """Return the comment that a recipe begins with."""
    return str(path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# "))


def state_of(run_dir: Path) -> str:
    """Return how far a run has come: finished, a step of how many, stopped, or its corpus alone."""
    records = _last_records(run_dir / "records.jsonl")
    step = max((record["step"] for record in records if isinstance(record.get("step"), int)), default=0)
    if any(record.get("event") == "finish" for record in records):
        return f"finished ({step:,} steps)"
    if records:
        return f"step {step:,}{_of_steps(run_dir)}, {'running' if _is_running(run_dir) else 'stopped'}"
    if _is_running(run_dir):
        return "before training, running"
    if (run_dir / "data/corpus/manifest.json").is_file():
        return "corpus only"
    return "stopped before training" if (run_dir / "data").is_dir() else "nothing done yet"


def _of_steps(run_dir: Path) -> str:
    try:
        derived = _read(run_dir / "derived.json")  # of a run that is aligned; its settings are those of its start
        return f" of {(derived or _read(run_dir / 'config.json')['settings']['train'])['num_steps']:,}"
    except (KeyError, TypeError, ValueError):  # damaged
        return ""


def _read(path: Path) -> Any:
    """Return what a JSON file holds, {} where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_running(run_dir: Path) -> bool:
    """Return whether the process that locked a run folder last is still there, on this machine."""
    claim = _read(run_dir / "lock")
    try:
        os.kill(claim["pid"], 0)
    except PermissionError:  # another user's
        pass
    except (OSError, KeyError, TypeError, OverflowError):
        return False
    return bool(claim.get("host") == socket.gethostname())


def _last_records(path: Path) -> list[dict[str, Any]]:
    """Return the records at the end of a file, after the last start or resume among them."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    records: list[dict[str, Any]] = []
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # cut, at either end
            continue
        if isinstance(record, dict):
            records = [record] if record.get("event") in ("start", "resume", "rollback") else [*records, record]
    return records
