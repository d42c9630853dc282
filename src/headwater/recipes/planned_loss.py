"""The loss a run will reach, by the law of a table of runs; nothing without one. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headwater.batches.mixture import make_plan
from headwater.errors import ConfigError, DataError
from headwater.model.count import count_parameters
from headwater.plan.forecast_run import Spread
from headwater.plan.law.overfit import RepeatedForecaster
from headwater.plan.law.refusal import forecast_refusal, forecast_warnings
from headwater.plan.law.table import Runs, read_runs, read_so_often
from headwater.recipes.ladder_record import BegunLadder, begun_ladder, done_ladder, ladder_dir, read_ladder, table_of
from headwater.recipes.planned_schedule import Moved, moved_by_schedule
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import split_tokens

LEAST_FITTED = 4  # rungs; the prior carries what so few leave open
LEAST_COST = 0.001
"Of a loss: what repetition costs less isn't said."
LEAST_REPEATED, MUCH_MORE = 2.0, 1.5
"Readings of the text from which repetition is noted, and how many times those of the runs that tell the loss."
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
    runs = read_so_often(runs, epochs_together(epochs_of_run(config)))
    return _by_law(config, RepeatedForecaster(runs), f"{name}, which read their text as often")


def _by_table(config: RunConfig, runs: Runs, name: str) -> LossOutlook:
    """Return what a table of other runs says, whose own column tells how often they read their text."""
    found, epochs = _by_law(config, RepeatedForecaster(runs), name), epochs_of_run(config)
    if epochs is None or found.spread is None:
        return found
    repeated = notes_of_repetition("the run", most_epochs(epochs), 1.0)
    return replace(found, notes=(*found.notes, *repeated))


def _by_law(config: RunConfig, forecaster: RepeatedForecaster, name: str) -> LossOutlook:
    params, epochs = float(count_parameters(config.model).total), epochs_of_run(config)
    tokens = float(config.train.num_steps * config.train.batch_tokens)
    unique, fresh = tokens / epochs_together(epochs), forecaster.likeliest.runs
    refused = forecast_refusal(fresh, params, tokens)
    if refused is not None:
        return LossOutlook(None, refused, refused)
    medians, deviations = forecaster.spread(np.array([params]), np.array([tokens]), unique)
    notes = tuple(f"the loss: {warning.says}" for warning in forecast_warnings(fresh, params, tokens))
    read = "not built yet: taken as read once" if epochs is None else f"read {most_epochs(epochs):.2g} times at most"
    how = f"{name}, {params:.3g} parameters, {tokens:.3g} tokens (text {read})"
    cost = float(np.expm1(forecaster.strength.log_cost(np.array(params), np.array(tokens), unique)))
    if cost > LEAST_COST:
        how += f"; of it {cost / (1 + cost):.1%} come of reading again"
    return LossOutlook(Spread(float(medians[0]), float(deviations[0])), how, notes=notes)


def notes_of_repetition(who: str, epochs: float, read: float) -> list[str]:
    """Return a note where a run reads its text far more often than those did that its loss is forecast from."""
    if epochs < max(LEAST_REPEATED, MUCH_MORE * read):
        return []
    return [
        f"{who} reads its text {epochs:.1f} times, and what its loss is forecast from {read:.2g} times: what that "
        "costs is reckoned by other runs, and differs three-fold from one way of training to another; `headwater "
        "ladder RUN` shows it, for its runs read as often"
    ]


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


def epochs_together(epochs: dict[str, tuple[float, float]] | None) -> float:
    """Return all tokens over those that are different: 1 where nothing is read twice, or isn't known yet."""
    if epochs is None:
        return 1.0
    different = sum(tokens / max(1.0, times) for tokens, times in epochs.values())
    return sum(tokens for tokens, _ in epochs.values()) / different


def most_epochs(epochs: dict[str, tuple[float, float]]) -> float:
    return max(times for _, times in epochs.values())
