"""What a schedule of the learning rate does to the last loss of a run: the multi-power law (arXiv:2503.12811).

Over a floor that no schedule moves, loss has two parts. One falls as a power of the learning rate summed over the run,
the warm-up within the sum. The other goes up with the rate and, when the rate falls, comes down again as a power of
what is summed from there on: that is why a decay pays. The authors' constants belong to a model and its peak rate in
steps; here the unit of both is the run itself, its length and its peak, so that a schedule is a list of factors and
one set of constants serves every run. That set is fitted, and held against runs and schedules that it wasn't fitted
on, by benchmarks/schedule_backtest.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.plan.arrays import FloatArray


@dataclass(frozen=True)
class MultiPower:
    """Constants of the law, relative to the floor, for a run whose length and peak learning rate are one."""

    progress: float
    progress_power: float
    noise: float
    fading: float
    fading_power: float
    rate_power: float

    def parts(self, factors: Sequence[float] | FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what the last loss has over the floor, by progress and by noise, in parts of the floor.

        `factors` are learning rates over their peak, above zero, along the last axis: each for an equal share of a run.
        """
        rates = np.asarray(factors, dtype=np.float64)
        left = np.cumsum(rates[..., ::-1], axis=-1)[..., ::-1] / rates.shape[-1]
        unfaded = (1 + self.fading * rates**-self.rate_power * left) ** -self.fading_power
        noise = self.noise * (np.diff(rates, prepend=0.0) * (1 - unfaded)).sum(axis=-1)
        return self.progress * rates.mean(axis=-1) ** -self.progress_power, noise

    def level(self, factors: Sequence[float] | FloatArray) -> FloatArray:
        """Return the last loss over the floor."""
        progress, noise = self.parts(factors)
        return 1 + progress + noise


FITTED = MultiPower(
    progress=0.091, progress_power=0.393, noise=0.051, fading=972.0, fading_power=0.44, rate_power=0.442
)
"To all published curves; the back-test scores each size and kind of schedule by constants that saw neither."
UNSURE = 0.3
"Of either part's change, as a standard deviation: so far were sizes and schedules off that weren't fitted."


@dataclass(frozen=True)
class Move:
    """By how much another schedule changes the last loss: log of the ratio, and that logarithm's deviation."""

    log_ratio: float = 0.0
    deviation: float = 0.0


NO_MOVE = Move()


def move(factors: Sequence[float], reference: Sequence[float], law: MultiPower = FITTED) -> Move:
    """Return what a run loses by these factors where another of its size and length had those of `reference`.

    The same factors give exactly nothing.
    """
    changes = [float(own - its) for own, its in zip(law.parts(factors), law.parts(reference), strict=True)]
    level = float(law.level(reference))
    return Move(math.log1p(sum(changes) / level), UNSURE * math.hypot(*changes) / level)
