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

from headwater.scaling.arrays import FloatArray


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
FEW_STEPS = 100
"""Steps of a fall that surely are enough for its noise to fade. The shortest one of the published curves took 128; of
200 steps of headwater's own a fall over the last 10 was worth a fifth of what the law says of it
(docs/log.md, 2026-11-25, What a schedule is worth)."""


@dataclass(frozen=True)
class Move:
    """By how much another schedule changes the last loss: log of the ratio, and that logarithm's deviation."""

    log_ratio: float = 0.0
    deviation: float = 0.0


NO_MOVE = Move()


def move(factors: Sequence[float], reference: Sequence[float], num_steps: float, law: MultiPower = FITTED) -> Move:
    """Return what a run of `num_steps` loses by these factors where another of its size and length had `reference`.

    The same factors give exactly nothing.
    """
    progress, noise = (np.array(part) for part in zip(law.parts(factors), law.parts(reference), strict=True))
    left = np.array([_left_by_a_short_fall(each, num_steps, law) for each in (factors, reference)])
    expected = noise + left / 2  # none or all of it, nobody knows
    level = 1 + progress[1] + expected[1]
    changes = [float(part[0] - part[1]) for part in (progress, expected)]
    unsure = math.hypot(UNSURE * changes[0], UNSURE * changes[1], float(left[0] - left[1]) / math.sqrt(12))
    return Move(math.log1p(sum(changes) / float(level)), unsure / float(level))


def _left_by_a_short_fall(factors: Sequence[float], num_steps: float, law: MultiPower) -> float:
    """Return the noise that may still be there since the rate came down in too few steps; 0 where it never did."""
    rates = np.asarray(factors, dtype=np.float64)
    peak = float(rates.max())
    fall_steps = (len(rates) - int(np.flatnonzero(rates == peak)[-1])) * num_steps / len(rates)
    if rates[-1] == peak or fall_steps >= FEW_STEPS:
        return 0.0
    rest = law.noise * peak - float(law.parts(factors)[1])
    return max(0.0, rest) * (1 - fall_steps / FEW_STEPS)
