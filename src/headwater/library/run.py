"""A run from its file, in one call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwater.runs import running
from headwater.runs.paths import Say
from headwater.runs.run_config import load_run, run_folder
from headwater.runs.running import RunResult

AnyRun = str | Path | RunResult
"A recipe, a run file or a run folder by its name; or what `run` returned."


def run(name: str | Path, /, say: Say = print, **settings: Any) -> RunResult:
    """Bring every stage of a recipe, a run file or a run folder up to date, as `headwater run` does.

    `settings` are for this call, in the tables of a run file: `run("mine.toml", train={"num_steps": 200}, seed=2)`;
    None turns one off. `say` gets lines of progress. The same call resumes a run that was stopped. Raises
    HeadwaterError for what a person can mend.
    """
    config, reasons = load_run(str(name), [f"{path}={_toml(value)}" for path, value in _leaves(settings)])
    return running.run(config, reasons, say=say)


def folder_of(run: AnyRun) -> Path:
    """Return the folder of a run; raise ConfigError where there is none yet."""
    return run.folder if isinstance(run, RunResult) else run_folder(str(run))


def _leaves(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield path + name, value


def _toml(value: Any) -> str:
    return "off" if value is None else json.dumps(value, default=str)
