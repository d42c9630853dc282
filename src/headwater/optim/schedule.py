"""Step to learning-rate factor: pure functions. No torch."""

from __future__ import annotations

import math

from headwater.optim.settings import ScheduleSettings


def lr_factor(step: int, num_steps: int, schedule: ScheduleSettings) -> float:
    """Return the factor of the peak learning rate for the update after `step` completed ones, in (0, 1].

    The first update of a warm-up of W steps takes 1/W, not 0: an update of zero would waste a step.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.name == "wsd":
        # a decay never begins before the warm-up ends
        decay_steps = max(1, min(round(schedule.decay_fraction * num_steps), num_steps - schedule.warmup_steps))
        done = (step - (num_steps - decay_steps)) / decay_steps
    else:
        done = (step - schedule.warmup_steps) / max(1, num_steps - schedule.warmup_steps)
    done = min(1.0, max(0.0, done))
    shape = 0.5 * (1 + math.cos(math.pi * done)) if schedule.name == "cosine" else 1 - done
    return schedule.final_fraction + (1 - schedule.final_fraction) * shape
