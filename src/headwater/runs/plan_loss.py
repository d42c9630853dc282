"""The loss a run will reach, by the law of its ladder or of a table of runs; nothing without one. No torch."""

from __future__ import annotations

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


def loss_outlook(config: RunConfig, runs_csv: Path) -> LossOutlook:
    """Return the forecast of the table's law, in the table's unit; raise DataError for a table that can't be read."""
    own = read_ladder(config) if runs_csv == ladder_table(config) else []
    runs = table_of(own) if own else read_runs(runs_csv)
    total = float(count_parameters(config.model).total)
    params = size_of(config.model) if own else total  # sizes of rungs leave embeddings out; a table counts them
    tokens = float(config.train.num_steps * config.train.batch_tokens)
    try:
        epochs = epochs_of(config)
        law = ScalingLaw(with_epochs(runs, epochs.overall), OWN) if own else ScalingLaw(runs)
        found = law.predict(params, tokens, unique_tokens=tokens / epochs.overall, total_params=total)
    except (ConfigError, DataError) as refused:
        return LossOutlook(None, str(refused))
    often = ", which read their text as often" if own else ""
    read = f"{epochs.most:.2g} epochs of a source at most" if epochs.by_source else "text of unknown size"
    how = f"law of {len(runs)} runs in {runs_csv}{often}, {total:.3g} parameters, {tokens:.3g} tokens ({read})"
    warnings = tuple(f"the loss: {warning.says}" for warning in law.warnings(params, tokens))
    return LossOutlook(Spread(float(found.median[0]), float(found.log_deviation[0])), how, warnings)
