"""A small run beside a run: on its text, in a folder of its own below the run's, and done once.

Ladders and searches for a mixture train many. Each resumes from its own checkpoint, and what
it measured is kept under the key of its settings and text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.checkpoint.lock import owned
from headwater.files import digest_json, link_folder, make_folder, remove_folder, write_json
from headwater.optim.rules import Reason
from headwater.runs.ladder_record import text_digest
from headwater.runs.paths import Folders, Say, read_json_or_none
from headwater.runs.run_config import RunConfig
from headwater.runs.stages import is_trained, tidy, write_config
from headwater.train.loop import Display


def small_run_key(beside: RunConfig, config: RunConfig) -> str:
    """Return what a small run's measurements depend on: its settings, but for where it lies, and the run's text."""
    settings = config.model_dump(mode="json") | {"mixture": config.mixture.as_key()}
    del settings["runs_dir"]
    return digest_json({"settings": settings, "text": text_digest(beside)})


def keep_measured(beside: RunConfig, config: RunConfig, name: str, found: Mapping[str, Any]) -> None:
    """Write what a small run measured to the file `name` of its folder."""
    write_json(config.run_dir / name, {"key": small_run_key(beside, config), **found})


def measured_before(beside: RunConfig, config: RunConfig, name: str) -> dict[str, Any] | None:
    """Return what `keep_measured` wrote, when it was for these settings and this text."""
    found = read_json_or_none(config.run_dir / name)
    return found if isinstance(found, dict) and found.get("key") == small_run_key(beside, config) else None


def begin_small_run(beside: RunConfig, config: RunConfig) -> None:
    """Make a small run's folder, or leave the one begun before; one of other settings or text is removed."""
    key = {"key": small_run_key(beside, config)}
    if read_json_or_none(config.run_dir / "key.json") != key:
        remove_folder(config.run_dir)
        make_folder(config.run_dir)
        write_json(config.run_dir / "key.json", key)


def train_small_run(beside: Path, config: RunConfig, reasons: list[Reason], display: Display, say: Say) -> bool:
    """Train a small run on the data of the run in the folder `beside`; return False when a signal stopped it."""
    from headwater.runs.training import train_stage

    folder = config.run_dir
    with owned(folder) as owner:
        tidy(Folders(folder))
        link_folder(Folders(folder).data, Folders(beside).data)
        write_config(config, reasons, owner.require)
        if is_trained(config):
            return True
        return train_stage(config, display, say, require_owner=owner.require)
