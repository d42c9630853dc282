"""What is wrong with the files of a run's folder, in the same words wherever a run is named, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

from headwater.core.errors import ConfigError
from headwater.core.files import read_json_or_none
from headwater.core.records import table
from headwater.train.checkpoint.layout import DERIVED, list_checkpoints
from headwater.train.checkpoint.lock import is_owned


def find_recipe(name: str) -> Path | None:
    from headwater.runfile.checking import RECIPES  # which loads what checks settings

    path = RECIPES / f"{name}.toml"
    return path if os.path.isfile(path) else None


def without_config(folder: Path) -> str:
    """Return what is said of a folder that has no config.json."""
    if not folder.is_dir():
        return f"there is no run folder {folder}; {remedy(folder)} makes one"
    if (folder / "records.jsonl").exists() or list_checkpoints(folder):
        return f"{folder} has lost its config.json: {remedy(folder)} writes it again"
    return (
        f"{folder} is a folder, and not a run's: it has no config.json; {remedy(folder)} makes one, or if it holds "
        f"your text, `headwater new NAME --text {folder}` writes a run file for it"
    )


def damaged_config(folder: Path) -> str:
    return f"{folder / 'config.json'} is damaged: {remedy(folder)} writes it again"


def require_run_dir(folder: Path) -> None:
    """Raise ConfigError for a folder that has nothing of a run, or whose settings are damaged."""
    if not any((folder / name).is_file() for name in ("config.json", "records.jsonl")):
        raise ConfigError(without_config(folder))
    require_whole_config(folder)


def require_whole_config(folder: Path) -> None:
    if _is_damaged(folder):
        raise ConfigError(damaged_config(folder))


def _is_damaged(folder: Path) -> bool:
    config = folder / "config.json"
    return os.path.isfile(config) and not table(read_json_or_none(config), "settings")


def damage_of(folder: Path, num_steps: float | None) -> str | None:
    """Return what a run's folder has lost; None of a whole one. `num_steps` are those that its records hold."""
    if _is_damaged(folder):
        return damaged_config(folder)
    saved, known = max([0, *(step for step, _ in list_checkpoints(folder))]), int(num_steps or 0)
    if known >= saved or (folder / DERIVED).exists() or is_owned(folder):  # its owner adds to both meanwhile
        return None
    records = folder / "records.jsonl"
    holds = f"holds {known:,} of the {saved:,} steps that are trained" if records.exists() else "is missing"
    return (
        f"{records} {holds}: put back a copy of it, if there is one. The model is whole; {remedy(folder)} measures it "
        "again, without the losses of its steps"
    )


def remedy(folder: Path) -> str:
    """Return the command that makes a run's folder, as far as its name tells: of a recipe, of a file here."""
    name = folder.resolve().name
    known = f"{name}.toml" if os.path.isfile(Path(f"{name}.toml")) else name if find_recipe(name) else "RUN.toml"
    return f"`headwater run {known}`"
