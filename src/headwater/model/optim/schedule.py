"""The learning rate of each step, as a factor of its peak. No torch."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from headwater.core.config import Settings


class ScheduleSettings(Settings):
    """How the learning rate goes over the run, as a factor of each group's peak."""

    name: Literal["wsd", "cosine", "linear"] = "wsd"
    "wsd: warm-up, stable, linear decay (arXiv:2404.06395); cosine or linear: decay from the end of the warm-up."
    warmup_steps: int = Field(ge=0)
    "Steps of linear rise."
    decay_fraction: float = Field(default=0.5, gt=0, le=1)
    "wsd: share of the run in the final decay; half, as nanochat, because short runs gain from a long decay."
    final_fraction: float = Field(default=0.0, ge=0, le=1)
    "Factor that is reached at the last step; 0 (arXiv:2502.15938)."


def lr_factor(step: int, num_steps: int, schedule: ScheduleSettings) -> float:
    """Return the factor of the peak learning rate for the update after `step` completed ones, in (0, 1].

    The first update of a warm-up of W steps takes 1/W, not 0: an update of zero would waste a step.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    start = decay_start(num_steps, schedule)
    done = min(1.0, max(0.0, (step - start) / max(1, num_steps - start)))
    shape = 0.5 * (1 + math.cos(math.pi * done)) if schedule.name == "cosine" else 1 - done
    return schedule.final_fraction + (1 - schedule.final_fraction) * shape


def decay_start(num_steps: int, schedule: ScheduleSettings) -> int:
    """Return how many steps are completed when the rate begins to fall: the next one still has the peak."""
    if schedule.name != "wsd":
        return schedule.warmup_steps
    # a decay never begins before the warm-up ends
    decay_steps = min(round(schedule.decay_fraction * num_steps), num_steps - schedule.warmup_steps)
    return num_steps - max(1, decay_steps)
