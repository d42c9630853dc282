"""The loss a run will reach, by the law of a table of runs; nothing without one. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headwater.errors import ConfigError, DataError
from headwater.forecast.forecast_run import Spread
from headwater.model.count import count_parameters
from headwater.runs.epochs import (
    MUCH_MORE,
    EpochsBySource,
    epochs_of,
    is_built,
    most_epochs,
    notes_of_repetition,
    overall_epochs,
)
from headwater.runs.ladder_record import (
    UnfinishedLadder,
    done_ladder,
    ladder_dir,
    read_ladder,
    table_of,
    unfinished_ladder,
)
from headwater.runs.planned_schedule import ScheduleEffect, schedule_effect
from headwater.runs.run_config import RunConfig
from headwater.scaling.overfit import OWN, RepeatedForecaster
from headwater.scaling.refusal import forecast_refusal, forecast_warnings
from headwater.scaling.table import MAX_EPOCHS, Runs, most_epochs_of, read_runs, with_epochs

LEAST_FITTED = 4  # rungs; the prior carries what so few leave open
LEAST_COST = 0.001
"Of a loss: a smaller cost of repetition isn't mentioned."
NO_RUNS = (
    "no loss without runs to forecast from: train small ones with headwater ladder RUN, or give --runs CSV, at least "
    "six finished runs on this text with the columns params, tokens and loss"
)


@dataclass(frozen=True)
class LossOutlook:
    """A spread, or why there is none; `notes` are what makes it less sure than its band says."""

    spread: Spread | None
    how: str
    refused: str | None = None
    notes: tuple[str, ...] = ()


def ladder_table(config: RunConfig) -> Path | None:
    """Return the table of the run's own ladder, whose loss is in bits per byte; None without one of these settings."""
    return ladder_dir(config.run_dir) / "runs.csv" if read_ladder(config) else None


def loss_outlook(config: RunConfig, runs_csv: Path | None) -> LossOutlook:
    """Return the forecast of the table's law, in the table's unit; raise DataError for a table that can't be read.

    Without a table it is that of the run's own ladder as far as that is trained, in bits per byte.
    """
    if runs_csv is not None:
        runs = _rows(config, runs_csv)
        by_law = _by_rungs if runs_csv == ladder_table(config) else _by_table
        found = by_law(config, runs, f"law of {len(runs)} runs in {runs_csv}")
        return _with_schedule(found, table_schedule_effect(config, runs_csv))
    unfinished = unfinished_ladder(config)
    return LossOutlook(None, NO_RUNS, NO_RUNS) if unfinished is None else unfinished_outlook(config, unfinished)


def _rows(config: RunConfig, runs_csv: Path) -> Runs:
    """Return the table; of the run's own ladder what its rungs measured, where their table is damaged or gone."""
    try:
        return read_runs(runs_csv)
    except (ConfigError, DataError):
        rungs = read_ladder(config) if runs_csv == ladder_table(config) else []
        if len(rungs) < LEAST_FITTED:
            raise
        return table_of(rungs)


def table_schedule_effect(config: RunConfig, runs_csv: Path) -> ScheduleEffect:
    """Return what the run's own schedule does to a forecast from this table: its ladder's, or one of other runs."""
    finished = done_ladder(config) if runs_csv == ladder_table(config) else None
    return schedule_effect(config, finished.schedule if finished else None)


def _with_schedule(found: LossOutlook, effect: ScheduleEffect) -> LossOutlook:
    if found.spread is None or not effect.how:
        return found
    return replace(found, spread=effect.spread(found.spread), how=f"{found.how}; {effect.how}")


def unfinished_outlook(config: RunConfig, unfinished: UnfinishedLadder) -> LossOutlook:
    """Return what the rungs trained so far carry; the largest are still missing, which widens the band."""
    num_done = len(unfinished.done)
    if num_done < LEAST_FITTED:
        refused = f"no loss yet: {unfinished.says}, and {LEAST_FITTED} carry a first forecast"
        return LossOutlook(None, refused, refused)
    found = _by_rungs(config, table_of(unfinished.done), f"law of those {num_done}")
    how = f"{unfinished.says}; so far: {found.how}"
    return replace(found, how=how, refused=None if found.spread else how)


def _by_rungs(config: RunConfig, runs: Runs, name: str) -> LossOutlook:
    """Return what rungs say, which read their text as often as the run and show what that costs."""
    try:
        by_source = epochs_of(config)
    except ConfigError as error:
        return LossOutlook(None, str(error), str(error))
    repeated = with_epochs(runs, overall_epochs(by_source))
    return _by_law(config, by_source, RepeatedForecaster(repeated, OWN), f"{name}, which read their text as often")


def _by_table(config: RunConfig, runs: Runs, name: str) -> LossOutlook:
    """Return what a table of other runs says, whose column `epochs` tells how often they read their text."""
    try:
        by_source = epochs_of(config)
    except ConfigError as error:
        return LossOutlook(None, str(error), str(error))
    times, known = most_epochs(by_source) if by_source else 1.0, most_epochs_of(runs)
    if times > max(MAX_EPOCHS, MUCH_MORE * known):
        refused = (
            f"the run reads its text {times:.1f} times; what repetition costs was measured to {MAX_EPOCHS:g} epochs. "
            "Use more text or fewer tokens, or measure it: headwater ladder RUN"
        )
        return LossOutlook(None, refused, refused)
    found = _by_law(config, by_source, RepeatedForecaster(runs), name)
    return (
        found
        if found.spread is None
        else replace(found, notes=(*found.notes, *notes_of_repetition("the run", times, known)))
    )


def _by_law(
    config: RunConfig, by_source: EpochsBySource | None, forecaster: RepeatedForecaster, name: str
) -> LossOutlook:
    params = float(count_parameters(config.model).total)
    tokens = float(config.train.num_steps * config.train.batch_tokens)
    unique, fresh = tokens / overall_epochs(by_source), forecaster.likeliest.runs
    refused = forecast_refusal(fresh, params, tokens)
    if refused is not None:
        return LossOutlook(None, refused, refused)
    medians, deviations = forecaster.spread(np.array([params]), np.array([tokens]), unique)
    notes = tuple(f"the loss: {warning.says}" for warning in forecast_warnings(fresh, params, tokens))
    read = "text of unknown size, taken as one epoch"
    if by_source:
        read = f"at most {'' if is_built(config) else 'about '}{most_epochs(by_source):.2g} epochs of a source"
    how = f"{name}, {params:.3g} parameters, {tokens:.3g} tokens ({read})"
    cost = float(np.expm1(forecaster.strength.log_cost(np.array(params), np.array(tokens), unique)))
    if cost > LEAST_COST:
        how += f"; repetition costs {cost / (1 + cost):.1%} of it"
    return LossOutlook(Spread(float(medians[0]), float(deviations[0])), how, notes=notes)
