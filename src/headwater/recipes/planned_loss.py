"""The loss a run will reach, by the law of a table of runs; nothing without one. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headwater.batches.mixture import make_plan
from headwater.errors import ConfigError, DataError
from headwater.model.count import count_parameters
from headwater.plan.forecast_run import Spread
from headwater.plan.law.forecast import Forecaster
from headwater.plan.law.refusal import forecast_refusal, forecast_warnings
from headwater.plan.law.repetition import effective_tokens
from headwater.plan.law.table import Runs, read_runs
from headwater.recipes.ladder_record import BegunLadder, begun_ladder, done_ladder, ladder_dir, read_ladder, table_of
from headwater.recipes.planned_schedule import Moved, moved_by_schedule
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import split_tokens

LEAST_FITTED = 4  # rungs; the prior carries what so few leave open
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
        found = _by_law(config, runs, f"law of {len(runs)} runs in {runs_csv}")
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
    found = _by_law(config, table_of(begun.done), f"law of those {num_done}")
    how = f"{begun.says}; so far: {found.how}"
    return replace(found, how=how, refused=None if found.spread else how)


def _by_law(config: RunConfig, runs: Runs, name: str) -> LossOutlook:
    params = float(count_parameters(config.model).total)
    try:
        tokens, read = worth_of_tokens(config)
    except ConfigError as error:
        return LossOutlook(None, str(error), str(error))
    refused = forecast_refusal(runs, params, tokens)
    if refused is not None:
        return LossOutlook(None, refused, refused)
    medians, deviations = Forecaster(runs).spread(np.array([params]), np.array([tokens]))
    how = f"{name}, {params:.3g} parameters, {tokens:.3g} tokens ({read})"
    notes = tuple(f"the loss: {warning.says}" for warning in forecast_warnings(runs, params, tokens))
    return LossOutlook(Spread(float(medians[0]), float(deviations[0])), how, notes=notes)


def worth_of_tokens(config: RunConfig) -> tuple[float, str]:
    """Return how many tokens of fresh text the run's are worth, and how often text is read.

    Raises ConfigError where a source is read too often for the law of repetition.
    """
    num_tokens = config.train.num_steps * config.train.batch_tokens
    epochs = epochs_of_run(config)
    if epochs is None:
        return float(num_tokens), "text is not built yet: taken as read once at most"
    worth = sum(effective_tokens(tokens, max(1.0, times)) for tokens, times in epochs.values())
    return worth, f"text read {most_epochs(epochs):.2g} times at most"


def epochs_of_run(config: RunConfig) -> dict[str, tuple[float, float]] | None:
    """Return {source: tokens it gives to the run, how often its text is read}; None before the text is built."""
    found = split_tokens(config, "train")
    if found is None:
        return None
    seq_len = config.model.seq_len
    rows = {name: max(1, count // seq_len) for name, count in found.items()}
    plan = make_plan(rows, config.mixture, config.num_rows)
    counts, epochs = plan.counts(config.num_rows), plan.epochs(config.num_rows)
    return {name: (float(counts[name] * seq_len), epochs[name]) for name in rows}


def most_epochs(epochs: dict[str, tuple[float, float]]) -> float:
    return max(times for _, times in epochs.values())
