"""The forecast of a run, kept from before its first step in RUN/forecast.json. No torch.

It is made when the text is prepared, so that epochs are known, and before the first step. A resume leaves it as it is,
to the byte; a run that starts from step 0 again gets a new one; one that resumes with other settings loses it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from headwater.errors import ConfigError, DataError, LockedError
from headwater.files import digest_json, remove_file, write_json
from headwater.forecast.result import FORECAST_FORMAT
from headwater.records import no_owner
from headwater.runs.ladder_record import unfinished_ladder
from headwater.runs.paths import Folders, Require, Say, read_json_or_none, stage_digest
from headwater.runs.plan import PlanOptions, plan_run, with_ladder
from headwater.runs.plan_machine import StartedRun
from headwater.runs.run_config import RunConfig

FORECAST_VERSION = 1
_WITHOUT_EFFECT = {"log_every", "keep_checkpoints", "prompts"}


def forecast_of_run(
    config: RunConfig,
    options: PlanOptions,
    step: int,
    say: Say,
    clock: Callable[[], float],
    started: StartedRun | None = None,
    require_owner: Require = no_owner,
) -> dict[str, Any] | None:
    """Return the run's forecast, made and written now where it begins at step 0; None where there is none.

    `started` is what the run's process knows before its first step. Raises nothing but what `require_owner` raises,
    LockedError when the run was taken over: a run is worth more than its forecast. What went wrong is said.
    """
    require_owner()
    path = config.run_dir / "forecast.json"
    try:
        if step:
            return _kept(config, say)
        remove_file(path)  # of an attempt that died before its first save, or of other settings
        found = {
            "format": FORECAST_FORMAT,
            "format_version": FORECAST_VERSION,
            "key": forecast_key(config),
            "made_at": datetime.fromtimestamp(clock(), UTC).isoformat(timespec="seconds"),
            "headwater": headwater_version(),
            **_plan(config, options, say, started),
        }
        write_json(path, found, require_owner)
    except LockedError:
        raise
    except Exception as error:  # of whatever kind: planning must not stop the training that it is about
        say(f"no forecast: {error}")
        return None
    for note in found["notes"]:
        say(note)
    return found


def _kept(config: RunConfig, say: Say) -> dict[str, Any] | None:
    """Return what the run began with; remove it where it was made for other settings."""
    path = config.run_dir / "forecast.json"
    kept = read_json_or_none(path)
    if not isinstance(kept, dict) or kept.get("format") != FORECAST_FORMAT:
        return None
    if kept.get("key") == forecast_key(config):
        return kept
    remove_file(path)
    say("the forecast was made for other settings or text than the run resumes with, and is removed")
    return None


def _plan(config: RunConfig, options: PlanOptions, say: Say, started: StartedRun | None) -> dict[str, Any]:
    """Return the plan, without a loss where the table of runs can't be used."""
    options = with_ladder(config, options)
    if options.runs is None and (ladder := unfinished_ladder(config)) is not None:
        say(ladder.says)
    try:
        return plan_run(config, options, None, started).fields()
    except (ConfigError, DataError) as error:
        if options.runs is None:
            raise
        say(f"no forecast of the loss: {error}")
        found = plan_run(config, replace(options, runs=None), None, started).fields()
        refused = {"loss_refused": str(error), "how": found["how"] | {"loss": str(error)}}
        return found | refused | {"loss": None, "loss_unit": options.loss_unit}


def forecast_key(config: RunConfig) -> str:
    """Return the digest of all that a forecast is made for: settings of the training, and its text."""
    parts = {"seed", "mixture", "model", "optim", "schedule", "train", "machine"}
    settings = config.model_dump(mode="json", include=parts) | {"mixture": config.mixture.as_key()}
    settings["train"] = {name: value for name, value in settings["train"].items() if name not in _WITHOUT_EFFECT}
    return digest_json({"settings": settings, "tokens": stage_digest(Folders(config.run_dir).tokens)})


def headwater_version() -> str:
    """Return the version of the package as it is installed, or unknown where it runs from its source alone."""
    try:
        return importlib.metadata.version("headwater")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
