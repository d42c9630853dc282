"""A run from its file, in one call, with its report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import InstanceOf

from headwater.core.validation import wanted
from headwater.page.report.stage import is_shown, report_stage
from headwater.runfile.given import Override
from headwater.runfile.paths import Say
from headwater.runfile.run_config import load_run
from headwater.runs import running
from headwater.runs.dry_run import DryRun
from headwater.runs.dry_run import dry_run as dry_run_of
from headwater.runs.library.checked import checked
from headwater.runs.result import RunResult
from headwater.runs.running import Call
from headwater.train.trackers import keep_local

Progress = Annotated[Say, wanted("give a function of a line of text; settings are named, as train={'num_steps': 200}")]
Named = Annotated[str | InstanceOf[Path], wanted("give the name of a recipe, a run file or a run folder")]


@checked
def run(name: Named, /, say: Progress = print, **settings: Any) -> RunResult:
    """Bring every stage of a recipe, a run file or a run folder up to date, as `headwater run` does.

    `settings` are for this call, in the tables of a run file: `run("mine.toml", train={"num_steps": 200}, seed=2)`;
    None turns one off. `say` gets lines of progress. The same call resumes a run that was stopped. Raises
    HeadwaterError for what a person can mend.
    """
    config, reasons = load_run(str(name), overrides_of(settings))
    keep_local(config.train.trackers, os.environ)
    return running.run(config, reasons, say=say, call=Call(report=report_stage))


@checked
def dry_run(name: Named, /, **settings: Any) -> DryRun:
    """Return what `run` would do, stage by stage and why, what it would cost, what is refused; nothing is written."""
    return dry_run_of(load_run(str(name), overrides_of(settings))[0], is_shown=is_shown)


def overrides_of(settings: Mapping[str, Any]) -> list[Override]:
    """Return settings in tables, or by names with dots, one by one; a name within a table may have a dot itself."""
    return [each for name, value in settings.items() for each in _leaves(value, tuple(name.split(".")))]


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[Override]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, str(name)))
    else:
        yield Override(path, "off" if value is None else _plain(value))


def _plain(value: Any) -> Any:
    """Return a value as a file of TOML would give it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | bool | int | float) else str(value)
