"""The loss a run will reach, by the law of its ladder or of a table of runs; nothing without one. No torch."""

from __future__ import annotations

import math
from pathlib import Path

from headwater.errors import ConfigError, DataError
from headwater.forecast.result import LossOutlook, Spread
from headwater.model.count import count_parameters
from headwater.runs.ladder_record import ladder_table, read_ladder, size_of, table_of
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import epochs_of
from headwater.scaling.estimator import ScalingLaw
from headwater.scaling.repetition import OWN
from headwater.scaling.table import read_runs, with_epochs

CONSTANT_RATE_COST, SCHEDULE_DEVIATION = 0.025, 0.008
"""Of loss: a rate that never decays beside one that does, and how unsure another schedule makes it: mean and spread of
published curves (arXiv:2503.12811), which a law of schedules forecast no nearer (docs/log.md, 2026-11-28)."""
DECAYS_BELOW = 0.5  # a rate that ends above this part of its peak counts as one that never decays


def loss_outlook(config: RunConfig, runs_csv: Path) -> LossOutlook:
    """Return the forecast of the table's law, in the table's unit; raise DataError for a table that can't be read."""
    own = read_ladder(config) if runs_csv == ladder_table(config) else []
    runs = table_of(own, config.model) if own else read_runs(runs_csv)
    total = float(count_parameters(config.model).total)
    params = size_of(config.model) if own else total  # sizes of rungs leave embeddings out; a table counts them
    tokens = float(config.train.num_steps * config.train.batch_tokens)
    try:
        epochs = epochs_of(config)
        law = ScalingLaw(with_epochs(runs, epochs.overall), OWN) if own else ScalingLaw(runs)
        found = law.predict(params, tokens, unique_tokens=tokens / epochs.overall, total_params=total)
    except (ConfigError, DataError) as refused:
        return LossOutlook(None, str(refused))
    factor, why = schedule_effect(config, runs_csv)
    deviation = math.hypot(float(found.log_deviation[0]), factor.log_deviation)
    often = ", which read their text as often" if own else ""
    read = f"{epochs.most:.2g} epochs of a source at most" if epochs.by_source else "text of unknown size"
    how = f"law of {len(runs)} runs in {runs_csv}{often}, {total:.3g} parameters, {tokens:.3g} tokens ({read})"
    warnings = tuple(f"the loss: {warning.says}" for warning in law.warnings(params, tokens))
    spread = Spread(float(found.median[0]) * factor.median, deviation)
    return LossOutlook(spread, f"{how}; {why}" if why else how, warnings)


def schedule_effect(config: RunConfig, runs_csv: Path) -> tuple[Spread, str]:
    """Return the factor that the run's own schedule of the learning rate puts on a forecast from this table, and why.

    Of a table's runs whose schedule isn't known a decay is assumed. The words are empty where there is no effect.
    """
    if runs_csv == ladder_table(config) or config.schedule.final_fraction < DECAYS_BELOW:
        return Spread(1.0), ""
    effect = f"{math.expm1(CONSTANT_RATE_COST):+.1%} (± {SCHEDULE_DEVIATION:.1%})"
    why = f"{effect} since the run's learning rate never decays and theirs does, as is assumed"
    return Spread(math.exp(CONSTANT_RATE_COST), SCHEDULE_DEVIATION), why
