"""The forecast of one run: time, memory, energy, carbon, money, loss, and the chances of breaking a limit. No torch.

Once the facts are known, `crps` says how good it was.
All quantities are drawn together: money and energy are those of the drawn hours, and the parts of the time share how
fast the machine is, so that bands of sums are not too narrow.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import ConfigError
from headwater.intervals import Z_P90

FloatArray = NDArray[np.float64]
NUM_DRAWS, SEED = 10_000, 1
FORECAST_FORMAT = "headwater-forecast"
"The format of RUN/forecast.json, which is written by one package and read by another."
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
        """Return P10, P50 and P90."""
        factor = math.exp(Z_P90 * self.log_deviation)
        return {"p10": self.median / factor, "p50": self.median, "p90": self.median * factor}


@dataclass(frozen=True)
class LossOutlook:
    """A spread, or why there is none; `notes` are what makes it less sure than its band says."""

    spread: Spread | None
    how: str
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> str | None:
        """Why there is no loss, None where there is one."""
        return None if self.spread else self.how


@dataclass(frozen=True)
class Band:
    """P10, P50 and P90: 80 % of actual values should lie from the first to the last."""

    p10: float
    p50: float
    p90: float

    @classmethod
    def of(cls, draws: FloatArray) -> Band:
        return cls(*map(float, np.quantile(draws, (0.1, 0.5, 0.9))))


@dataclass(frozen=True)
class Inputs:
    """What is known of a run before it. `how` names the source of time, memory, energy, money and loss, a line each.

    `seconds` are medians of its parts and what is unsure of each alone; `speed_deviation` is that of the logarithm of
    the machine's speed, which all share. `usd_per_hour` and `loss` are None where nothing is known.
    """

    seconds: dict[str, Spread]
    speed_deviation: float
    memory_bytes: Spread
    watts: Spread
    pue: float
    kg_co2_per_kwh: float
    usd_per_hour: Spread | None
    loss: Spread | None
    how: dict[str, str]


@dataclass(frozen=True)
class Limits:
    """Budgets and a target, each None where there is none; memory is what the machine has."""

    max_hours: float | None = None
    max_money: float | None = None
    target_loss: float | None = None
    memory_bytes: float | None = None


@dataclass(frozen=True)
class Forecast:
    """Bands and their sources; None where nothing is known. `training` is what the run's own clock will count.

    Hours, US dollars, kWh, kg of CO2, GiB; the loss in the unit of its table. `probabilities` are those of breaking
    a limit.
    """

    hours: Band
    money: Band | None
    energy_kwh: Band
    kg_co2: Band
    memory_gib: Band
    loss: Band | None
    training: dict[str, Band]
    seconds: dict[str, Band]
    probabilities: dict[str, float | None]
    how: dict[str, str]

    def fields(self) -> dict[str, Any]:
        """Return the forecast as JSON has it."""
        return asdict(self)


def check_positive(name: str, value: float | None) -> None:
    """Raise ConfigError for a budget that no run can keep."""
    if value is not None and not 0 < value < math.inf:
        raise ConfigError(f"{name} {value:g}: give a number above zero, or leave it out for no limit")


def forecast(inputs: Inputs, limits: Limits) -> Forecast:
    """Return the bands of every quantity; the same inputs give the same numbers."""
    generator = np.random.default_rng(SEED)
    speed = Spread(1.0, inputs.speed_deviation).draw(generator)
    seconds = {name: part.draw(generator) * speed for name, part in inputs.seconds.items()}
    hours = np.sum(list(seconds.values()), axis=0) / 3600
    trained = np.sum([seconds[name] for name in TRAINING_PARTS if name in seconds], axis=0) / 3600
    kilowatts = inputs.watts.draw(generator) / 1000 * inputs.pue
    memory = inputs.memory_bytes.draw(generator)
    money = None if inputs.usd_per_hour is None else hours * inputs.usd_per_hour.draw(generator)
    loss = None if inputs.loss is None else inputs.loss.draw(generator)
    return Forecast(
        hours=Band.of(hours),
        money=None if money is None else Band.of(money),
        energy_kwh=Band.of(hours * kilowatts),
        kg_co2=Band.of(hours * kilowatts * inputs.kg_co2_per_kwh),
        memory_gib=Band.of(memory / 2**30),
        loss=None if loss is None else Band.of(loss),
        training={"hours": Band.of(trained), "energy_kwh": Band.of(trained * kilowatts)},
        seconds={name: Band.of(draws) for name, draws in seconds.items()},
        probabilities={
            "over_max_hours": exceeding(hours, limits.max_hours),
            "over_max_money": exceeding(money, limits.max_money),
            "over_memory": exceeding(memory, limits.memory_bytes),
            "misses_target_loss": exceeding(loss, limits.target_loss),
        },
        how=inputs.how,
    )


def exceeding(draws: FloatArray | None, limit: float | None) -> float | None:
    """Return the part of the draws above a limit; None where there is no limit or nothing is known."""
    return None if draws is None or limit is None else float((draws > limit).mean())


def crps(fact: float, p10: float, p50: float, p90: float) -> float:
    """Return the continuous ranked probability score of the logarithm of a fact, all four above zero; 0 is perfect.

    The forecast is read as a log-normal with its median at `p50` and as wide as `p10` to `p90`. The score is proper: no
    band does better, on average, than the one that is believed. In the logarithm it is relative to the quantity: a
    forecast without a band that is off by 5 % scores 0.05. Formula: Gneiting and Raftery, JASA 102 (2007), eq. 21.
    """
    off = math.log(fact / p50)
    deviation = math.log(p90 / p10) / (2 * Z_P90)
    if deviation <= 0:
        return abs(off)
    z = off / deviation
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * math.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def binomial_interval(num_right: int, num_tried: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share; (0, 1) where nothing was tried."""
    from scipy.special import betaincinv

    tail, num_wrong = (1 - confidence) / 2, num_tried - num_right
    low = float(betaincinv(num_right, num_wrong + 1, tail)) if num_right else 0.0
    high = float(betaincinv(num_right + 1, num_wrong, 1 - tail)) if num_wrong else 1.0
    return low, high
