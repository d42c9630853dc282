"""The loss a run will reach, by the law of its ladder or of a table of runs; nothing without one. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headwater.errors import ConfigError
from headwater.forecast.result import LossOutlook, Spread
from headwater.model.count import count_parameters
from headwater.optim.schedule import lr_factor
from headwater.optim.settings import ScheduleSettings
from headwater.runs.ladder_record import (
    UnfinishedLadder,
    done_ladder,
    ladder_table,
    read_ladder,
    size_of,
    table_of,
)
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import MUCH_MORE, epochs_of, is_built, most_epochs, notes_of_repetition, overall_epochs
from headwater.scaling.backtest import LEAST_FITTED
from headwater.scaling.estimator import ScalingLaw
from headwater.scaling.reach import forecast_refusal, forecast_warnings
from headwater.scaling.repetition import OWN
from headwater.scaling.schedule import NO_MOVE, Move, move
from headwater.scaling.table import MAX_EPOCHS, Runs, most_epochs_of, read_runs, with_epochs

LEAST_COST = 0.001
"Of a loss: a smaller cost of repetition isn't mentioned."
MOST_SHARES = 2000
DECAYS_BELOW = 0.5
"A rate that ends above this part of its peak counts as one that never decays."


def loss_outlook(config: RunConfig, runs_csv: Path) -> LossOutlook:
    """Return the forecast of the table's law, in the table's unit; raise DataError for a table that can't be read."""
    is_own = runs_csv == ladder_table(config)
    rungs = read_ladder(config) if is_own else []
    is_of_rungs = len(rungs) >= LEAST_FITTED  # whose sizes leave embeddings out; a table counts them
    runs = table_of(rungs, config.model) if is_of_rungs else read_runs(runs_csv)
    params = size_of(config.model) if is_of_rungs else count_parameters(config.model).total
    found = _by_law(config, runs, params, f"law of {len(runs)} runs in {runs_csv}", is_own=is_own)
    effect = table_schedule_effect(config, runs_csv)
    if found.spread is None or not effect.how:
        return found
    return replace(found, spread=effect.spread(found.spread), how=f"{found.how}; {effect.how}")


def unfinished_outlook(config: RunConfig, unfinished: UnfinishedLadder) -> LossOutlook:
    """Return what the rungs trained so far carry; the largest are still missing, which widens the band."""
    num_done = len(unfinished.done)
    if num_done < LEAST_FITTED:
        return LossOutlook(None, f"no loss yet: {unfinished.says}, and {LEAST_FITTED} carry a first forecast")
    runs, params = table_of(unfinished.done, config.model), size_of(config.model)
    found = _by_law(config, runs, params, f"law of those {num_done}", is_own=True)
    return replace(found, how=f"{unfinished.says}; so far: {found.how}")


def _by_law(config: RunConfig, runs: Runs, params: float, name: str, *, is_own: bool) -> LossOutlook:
    """Return what a table says of a run of `params`; its own rungs read their text as often as it does."""
    try:
        by_source = epochs_of(config)
    except ConfigError as error:
        return LossOutlook(None, str(error))
    times, notes = most_epochs(by_source) if by_source else 1.0, []
    if is_own:
        law = ScalingLaw(with_epochs(runs, overall_epochs(by_source)), OWN)
        name += ", which read their text as often"
    else:
        known = most_epochs_of(runs)
        if times > max(MAX_EPOCHS, MUCH_MORE * known):
            return LossOutlook(
                None,
                f"the run reads its text {times:.1f} times; what repetition costs was measured to {MAX_EPOCHS:g} "
                "epochs. Use more text or fewer tokens, or measure it: headwater ladder RUN",
            )
        law = ScalingLaw(runs)
        notes = notes_of_repetition("the run", times, known)
    total = float(count_parameters(config.model).total)
    tokens = float(config.train.num_steps * config.train.batch_tokens)
    unique, fresh = tokens / overall_epochs(by_source), law.runs
    refused = forecast_refusal(fresh, params, tokens)
    if refused is not None:
        return LossOutlook(None, refused)
    found = law.predict(params, tokens, unique_tokens=unique, total_params=total)
    read = "text of unknown size, taken as one epoch"
    if by_source:
        read = f"at most {'' if is_built(config) else 'about '}{times:.2g} epochs of a source"
    how = f"{name}, {total:.3g} parameters, {tokens:.3g} tokens ({read})"
    cost = float(np.expm1(law.strength.log_cost(np.array(total), np.array(tokens), unique)))
    if cost > LEAST_COST:
        how += f"; repetition costs {cost / (1 + cost):.1%} of it"
    warnings = (f"the loss: {warning.says}" for warning in forecast_warnings(fresh, params, tokens))
    return LossOutlook(Spread(float(found.median[0]), float(found.log_deviation[0])), how, (*warnings, *notes))


@dataclass(frozen=True)
class ScheduleEffect:
    """What a run's own schedule does to a forecast, and why in words; `how` is empty where it does nothing."""

    move: Move = NO_MOVE
    how: str = ""

    def spread(self, found: Spread) -> Spread:
        """Return the forecast with the schedule in it, to the bit the same where it does nothing."""
        if not self.how:
            return found
        deviation = math.hypot(found.log_deviation, self.move.deviation)
        return Spread(found.median * math.exp(self.move.log_ratio), deviation)


def table_schedule_effect(config: RunConfig, runs_csv: Path) -> ScheduleEffect:
    """Return what the run's own schedule does to a forecast from this table: its ladder's, or one of other runs.

    Of a table's runs whose schedule isn't known the usual is assumed, a rate that decays: a run of such a one is left
    as it is, and one that never decays is held against a cosine down to a tenth.
    """
    finished = done_ladder(config) if runs_csv == ladder_table(config) else None
    own, had = config.schedule, finished.schedule if finished else None
    if had == own or (had is None and own.final_fraction < DECAYS_BELOW):
        return ScheduleEffect()
    theirs = had or own.model_copy(update={"name": "cosine", "final_fraction": 0.1})
    factors, reference = (factors_of(each, config.train.num_steps) for each in (own, theirs))
    if factors == reference:  # a setting that this kind of schedule doesn't read
        return ScheduleEffect()
    found = move(factors, reference, config.train.num_steps)
    assumed = "" if had else ", as is assumed,"
    how = (
        f"{math.expm1(found.log_ratio):+.1%} (± {found.deviation:.1%}) since the run has {in_words(own)} where those"
        f"{assumed} had {in_words(theirs)}, by the multi-power law"
    )
    return ScheduleEffect(found, how)


def factors_of(schedule: ScheduleSettings, num_steps: int) -> list[float]:
    """Return learning-rate factors of a run in equal shares: a step each, or of a long run the step in the middle."""
    num_shares = min(num_steps, MOST_SHARES)
    return [lr_factor(int((share + 0.5) * num_steps / num_shares), num_steps, schedule) for share in range(num_shares)]


def in_words(schedule: ScheduleSettings) -> str:
    """Return a schedule as words: shape, end and warm-up."""
    num_steps = schedule.warmup_steps
    warmup = f"{num_steps} step{'' if num_steps == 1 else 's'} of warm-up"
    if schedule.final_fraction == 1:
        return f"a constant rate after {warmup}"
    over = f" over the last {schedule.decay_fraction:.0%}" if schedule.name == "wsd" else ""
    return f"{schedule.name} down to {schedule.final_fraction:g}{over} after {warmup}"
