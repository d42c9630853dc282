"""One run's hours, money, energy, carbon, memory and loss, joined by Monte Carlo. No torch.

Every quantity is drawn together: money and energy are those of the drawn hours, so that their intervals and the
probabilities of exceeding a budget belong to the same runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headwater.errors import ConfigError
from headwater.scaling.arrays import Z_P90, FloatArray

NUM_DRAWS, SEED = 10_000, 1
PROBES_PART = "looks"
"The key of probes in the seconds of `plan RUN --json` and forecast.json, kept from older versions."
PART_WORDS = {PROBES_PART: "probes", "after": "evaluation and report"}
TRAINING_PARTS = ("start", "steps", "validations", PROBES_PART, "checkpoints")
"Parts of the seconds that a run's own clock counts: text is prepared before it starts, the report is made after."


@dataclass(frozen=True)
class Spread:
    """A positive quantity: its median and the standard deviation of its logarithm."""

    median: float
    log_deviation: float = 0.0

    def draw(self, generator: np.random.Generator) -> FloatArray:
        return np.asarray(self.median * np.exp(self.log_deviation * generator.standard_normal(NUM_DRAWS)))

    def band(self) -> dict[str, float]:
        """Return P10, P50 and P90, as of many draws."""
        factor = math.exp(Z_P90 * self.log_deviation)
        return {"p10": self.median / factor, "p50": self.median, "p90": self.median * factor}


@dataclass(frozen=True)
class Outlook:
    """What is known of a run before it: seconds by part, and the rest. `how` says where each comes from.

    `usd_per_hour` and `loss` are None where nothing is known; `how` says why then.
    """

    seconds: dict[str, Spread]
    watts: Spread
    pue: float
    memory_bytes: Spread
    kg_co2_per_kwh: float
    usd_per_hour: Spread | None = None
    loss: Spread | None = None
    how: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """Budgets and a target, each None where there is none; memory is what the machine has."""

    max_hours: float | None = None
    max_money: float | None = None
    target_loss: float | None = None
    memory_bytes: float | None = None


def check_positive(name: str, value: float | None) -> None:
    """Raise ConfigError for a budget that no run can keep."""
    if value is not None and not 0 < value < math.inf:
        raise ConfigError(f"{name} {value:g}: give a number above zero, or leave it out for no limit")


def forecast(outlook: Outlook, limits: Limits) -> dict[str, Any]:
    """Return P10, P50 and P90 of every quantity, of each part's seconds, and the probabilities of breaking a limit.

    `training` has what the run's own clock will count, apart from preparation and what comes after. What isn't known is
    None; the same outlook gives the same numbers.
    """
    generator = np.random.default_rng(SEED)
    seconds = {name: part.draw(generator) for name, part in outlook.seconds.items()}
    hours = np.sum(list(seconds.values()), axis=0) / 3600
    trained = np.sum([seconds[name] for name in TRAINING_PARTS if name in seconds], axis=0) / 3600
    kilowatts = outlook.watts.draw(generator) / 1000 * outlook.pue
    kwh = hours * kilowatts
    gib = outlook.memory_bytes.draw(generator) / 2**30
    money = None if outlook.usd_per_hour is None else hours * outlook.usd_per_hour.draw(generator)
    loss = None if outlook.loss is None else outlook.loss.draw(generator)
    return {
        "hours": quantiles(hours),
        "money": quantiles(money),
        "energy_kwh": quantiles(kwh),
        "kg_co2": quantiles(kwh * outlook.kg_co2_per_kwh),
        "memory_gib": quantiles(gib),
        "loss": quantiles(loss),
        "training": {"hours": quantiles(trained), "energy_kwh": quantiles(trained * kilowatts)},
        "seconds": {name: quantiles(draws) for name, draws in seconds.items()},
        "probabilities": {
            "over_max_hours": exceeding(hours, limits.max_hours),
            "over_max_money": exceeding(money, limits.max_money),
            "over_memory": exceeding(gib * 2**30, limits.memory_bytes),
            "misses_target_loss": exceeding(loss, limits.target_loss),
        },
    }


def quantiles(draws: FloatArray | None) -> dict[str, float] | None:
    if draws is None:
        return None
    return dict(zip(("p10", "p50", "p90"), map(float, np.quantile(draws, (0.1, 0.5, 0.9))), strict=True))


def exceeding(draws: FloatArray | None, limit: float | None) -> float | None:
    """Return the part of the draws above a limit; None where there is no limit or nothing is known."""
    return None if draws is None or limit is None else float((draws > limit).mean())
