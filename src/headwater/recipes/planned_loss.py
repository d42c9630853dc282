"""The loss a run will reach, by the law of a table of runs; nothing without one. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headwater.errors import ConfigError, DataError
from headwater.model.count import count_parameters
from headwater.plan.forecast_run import Spread
from headwater.plan.law.overfit import OWN, RepeatedForecaster
from headwater.plan.law.refusal import forecast_refusal, forecast_warnings
from headwater.plan.law.table import MAX_EPOCHS, Runs, most_readings, read_runs, read_so_often
from headwater.recipes.ladder_record import BegunLadder, begun_ladder, done_ladder, ladder_dir, read_ladder, table_of
from headwater.recipes.planned_schedule import Moved, moved_by_schedule
from headwater.recipes.readings import (
    MUCH_MORE,
    Readings,
    is_built,
    most_times,
    notes_of_repetition,
    readings_of,
    times_together,
)
from headwater.recipes.run_config import RunConfig

LEAST_FITTED = 4  # rungs; the prior carries what so few leave open
LEAST_COST = 0.001
"Of a loss: what repetition costs less isn't said."
NO_RUNS = (
    "no loss without runs to forecast from: `headwater ladder RUN` makes a table of small ones, or give --runs CSV, a "
    "table of at least six finished runs on this text with the columns params, tokens and loss"
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
        return _with_schedule(found, moved_of_table(config, runs_csv))
    begun = begun_ladder(config)
    return LossOutlook(None, NO_RUNS, NO_RUNS) if begun is None else begun_outlook(config, begun)


def _rows(config: RunConfig, runs_csv: Path) -> Runs:
    """Return the table; of the run's own ladder what its rungs measured, where their table is damaged or gone."""
    try:
        return read_runs(runs_csv)
    except (ConfigError, DataError):
        rungs = read_ladder(config) if runs_csv == ladder_table(config) else []
        if len(rungs) < LEAST_FITTED:
            raise
        return table_of(rungs)


def moved_of_table(config: RunConfig, runs_csv: Path) -> Moved:
    """Return what the run's own schedule does to a forecast from this table: its ladder's, or one of other runs."""
    finished = done_ladder(config) if runs_csv == ladder_table(config) else None
    return moved_by_schedule(config, finished.schedule if finished else None)


def _with_schedule(found: LossOutlook, moved: Moved) -> LossOutlook:
    if found.spread is None or not moved.how:
        return found
    return replace(found, spread=moved.spread(found.spread), how=f"{found.how}; {moved.how}")


def begun_outlook(config: RunConfig, begun: BegunLadder) -> LossOutlook:
    """Return what the rungs trained so far carry; the largest are still missing, which widens the band."""
    num_done = len(begun.done)
    if num_done < LEAST_FITTED:
        refused = f"no loss yet: {begun.says}, and {LEAST_FITTED} carry a first forecast"
        return LossOutlook(None, refused, refused)
    found = _by_rungs(config, table_of(begun.done), f"law of those {num_done}")
    how = f"{begun.says}; so far: {found.how}"
    return replace(found, how=how, refused=None if found.spread else how)


def _by_rungs(config: RunConfig, runs: Runs, name: str) -> LossOutlook:
    """Return what rungs say, which read their text as often as the run and show what that costs."""
    try:
        readings = readings_of(config)
    except ConfigError as error:
        return LossOutlook(None, str(error), str(error))
    repeated = read_so_often(runs, times_together(readings))
    return _by_law(config, readings, RepeatedForecaster(repeated, OWN), f"{name}, which read their text as often")


def _by_table(config: RunConfig, runs: Runs, name: str) -> LossOutlook:
    """Return what a table of other runs says, whose column `epochs` tells how often they read their text."""
    try:
        readings = readings_of(config)
    except ConfigError as error:
        return LossOutlook(None, str(error), str(error))
    times, known = most_times(readings) if readings else 1.0, most_readings(runs)
    if times > max(MAX_EPOCHS, MUCH_MORE * known):
        refused = (
            f"the run reads its text {times:.1f} times, and what that costs was measured to {MAX_EPOCHS:g} readings: "
            "use more text or fewer tokens; `headwater ladder RUN` foretells it, for its runs read as often"
        )
        return LossOutlook(None, refused, refused)
    found = _by_law(config, readings, RepeatedForecaster(runs), name)
    return (
        found
        if found.spread is None
        else replace(found, notes=(*found.notes, *notes_of_repetition("the run", times, known)))
    )


def _by_law(config: RunConfig, readings: Readings | None, forecaster: RepeatedForecaster, name: str) -> LossOutlook:
    params = float(count_parameters(config.model).total)
    tokens = float(config.train.num_steps * config.train.batch_tokens)
    unique, fresh = tokens / times_together(readings), forecaster.likeliest.runs
    refused = forecast_refusal(fresh, params, tokens)
    if refused is not None:
        return LossOutlook(None, refused, refused)
    medians, deviations = forecaster.spread(np.array([params]), np.array([tokens]), unique)
    notes = tuple(f"the loss: {warning.says}" for warning in forecast_warnings(fresh, params, tokens))
    read = "of unknown size: taken as read once"
    if readings:
        read = f"read {'' if is_built(config) else 'about '}{most_times(readings):.2g} times at most"
    how = f"{name}, {params:.3g} parameters, {tokens:.3g} tokens (text {read})"
    cost = float(np.expm1(forecaster.strength.log_cost(np.array(params), np.array(tokens), unique)))
    if cost > LEAST_COST:
        how += f"; of it {cost / (1 + cost):.1%} come of reading again"
    return LossOutlook(Spread(float(medians[0]), float(deviations[0])), how, notes=notes)
