"""The loss a run will reach, by the law of a table of runs; nothing without one. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.batches.mixture import make_plan
from headwater.errors import ConfigError
from headwater.model.count import count_parameters
from headwater.plan.forecast_run import Spread
from headwater.plan.law.repetition import effective_tokens
from headwater.recipes.ladder_record import ladder_dir, read_ladder
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import split_tokens

NO_RUNS = (
    "no loss without runs to forecast from: `headwater ladder RUN` makes a table of small ones, or give --runs CSV, a "
    "table of at least six finished runs on this text with the columns params, tokens and loss"
)


@dataclass(frozen=True)
class LossOutlook:
    """A spread, or why there is none."""

    spread: Spread | None
    how: str
    refused: str | None = None


def ladder_table(config: RunConfig) -> Path | None:
    """Return the table of the run's own ladder, whose loss is in bits per byte; None without one of these settings."""
    return ladder_dir(config.run_dir) / "runs.csv" if read_ladder(config) else None


def loss_outlook(config: RunConfig, runs_csv: Path | None) -> LossOutlook:
    """Return the forecast of the table's law, in the table's unit; raise DataError for a table that can't be read."""
    if runs_csv is None:
        return LossOutlook(None, NO_RUNS, NO_RUNS)
    from headwater.plan.law.forecast import Forecaster
    from headwater.plan.law.refusal import forecast_refusal
    from headwater.plan.law.table import read_runs

    runs = read_runs(runs_csv)
    params = float(count_parameters(config.model).total)
    try:
        tokens, read = worth_of_tokens(config)
    except ConfigError as error:
        return LossOutlook(None, str(error), str(error))
    refused = forecast_refusal(runs, params, tokens)
    if refused is not None:
        return LossOutlook(None, refused, refused)
    medians, deviations = Forecaster(runs).spread(np.array([params]), np.array([tokens]))
    how = f"law of {len(runs)} runs in {runs_csv}, {params:.3g} parameters, {tokens:.3g} tokens ({read})"
    return LossOutlook(Spread(float(medians[0]), float(deviations[0])), how)


def worth_of_tokens(config: RunConfig) -> tuple[float, str]:
    """Return how many tokens of fresh text the run's are worth, and how often text is read.

    Raises ConfigError where a source is read too often for the law of repetition.
    """
    num_tokens = config.train.num_steps * config.train.batch_tokens
    found = split_tokens(config, "train")
    if found is None:
        return float(num_tokens), "text is not built yet: taken as read once at most"
    seq_len = config.model.seq_len
    num_rows = num_tokens // seq_len
    rows = {name: max(1, count // seq_len) for name, count in found.items()}
    plan = make_plan(rows, config.mixture, num_rows)
    counts, epochs = plan.counts(num_rows), plan.epochs(num_rows)
    worth = sum(effective_tokens(counts[name] * seq_len, max(1.0, epochs[name])) for name in rows)
    return worth, f"text read {max(epochs.values()):.2g} times at most"
