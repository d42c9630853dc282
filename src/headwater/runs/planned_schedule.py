"""A forecast whose runs had another schedule of the learning rate than the run itself has. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headwater.forecast.forecast_run import Spread
from headwater.optim.schedule import lr_factor
from headwater.optim.settings import ScheduleSettings
from headwater.runs.run_config import RunConfig
from headwater.scaling.schedule import NO_MOVE, Move, move

MOST_SHARES = 2000
DECAYS_BELOW = 0.5
"A rate that ends above this part of its peak counts as one that never decays."


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


def schedule_effect(config: RunConfig, had: ScheduleSettings | None) -> ScheduleEffect:
    """Return what the run's schedule changes where the runs of its table `had` another, at the run's length.

    Of a table's runs whose schedule isn't known the usual is assumed, a rate that decays: a run of such a one is left
    as it is, and one that never decays is held against a cosine down to a tenth.
    """
    own = config.schedule
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
