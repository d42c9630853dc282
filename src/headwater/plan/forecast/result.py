"""The forecast of one run: time, memory, energy, carbon, money, loss, and the chances of breaking a limit. No torch.

Every quantity is lognormal, as are products of them. A sum of parts is taken to be, too, with the variance of the sum;
the parts of the time share how fast the machine is, so that its band is not too narrow.

First of all what a rank has to do in a step, and the parts of the most that it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist, fmean
from typing import Any, Literal

from headwater.core.intervals import Z_P90
from headwater.core.numbers import size
from headwater.corpus.sources.settings import REPLAYED
from headwater.machine.ranks.mesh import Mesh
from headwater.model.count import count_parameters
from headwater.model.optim.settings import OptimSettings
from headwater.model.settings import ModelSettings

FORECAST_FORMAT = "headwater-forecast"
"The format of RUN/forecast.json, which is written by one package and read by another."
PREPARATION = "preparation"
"A key in the seconds of `plan RUN --json` and forecast.json."
PUE, KG_CO2_PER_KWH = 1.2, 0.4
"Of a data centre: OLMo 2's (arXiv:2501.00656), and carbon between the averages of the United States and the world."
NO_PRICE = "no price is known for this machine: give price_per_hour in a costs file (--costs)"
TRAINING_PARTS = ("steps", "validations", "probes", "checkpoints")
"Parts of the seconds that a run's own clock counts: it starts with the first step and stops with the last."


@dataclass(frozen=True)
class Spread:
    """A positive quantity: its median and the standard deviation of its logarithm."""

    median: float
    log_deviation: float = 0.0

    @classmethod
    def sum_of(cls, parts: Iterable[Spread]) -> Spread:
        """Return the sum of independent quantities."""
        found = list(parts)
        median = sum(part.median for part in found)
        return cls(median, math.hypot(*(part.median * part.log_deviation for part in found)) / (median or 1.0))

    def times(self, other: Spread, factor: float = 1.0) -> Spread:
        """Return the product of independent quantities, and of a factor."""
        deviation = math.hypot(self.log_deviation, other.log_deviation)
        return Spread(self.median * other.median * factor, deviation)

    def scaled(self, factor: float) -> Spread:
        return Spread(self.median * factor, self.log_deviation)

    def chance_above(self, limit: float) -> float:
        if self.log_deviation == 0:
            return float(self.median > limit)
        return NormalDist(sigma=self.log_deviation).cdf(math.log(self.median / limit))

    def band(self) -> Band:
        factor = math.exp(Z_P90 * self.log_deviation)
        return Band(self.median / factor, self.median, self.median * factor)


@dataclass(frozen=True)
class DeviceGroup:
    """Alike devices: how many, what each costs an hour, draws and may hold; no price where none is known.

    `hours_how` says how times on them are forecast, `hours_backtest` how far off published runs were.
    """

    device: str
    hours_how: str
    watts: Spread
    power_how: str
    price_how: str
    memory_limit: float
    usd_per_hour: Spread | None = None
    num_devices: int = 1
    hours_backtest: dict[str, float] | None = None
    pue: float = 1.0
    kg_co2_per_kwh: float = KG_CO2_PER_KWH

    @property
    def energy_how(self) -> str:
        cooling = f"PUE {self.pue:g}" if self.pue > 1 else "nothing for cooling"
        source = ", between the averages of the US and the world" if self.kg_co2_per_kwh == KG_CO2_PER_KWH else ""
        return f"{self.power_how}, {cooling}, {self.kg_co2_per_kwh:g} kg of CO2 a kWh{source}"

    def usd(self, hours: float) -> float | None:
        return None if self.usd_per_hour is None else hours * self.num_devices * self.usd_per_hour.median

    def money(self, hours: Spread) -> Spread | None:
        return None if self.usd_per_hour is None else hours.times(self.usd_per_hour, self.num_devices)

    def kwh(self, hours: Spread) -> Spread:
        return hours.times(self.watts, self.num_devices / 1000 * self.pue)

    def bands(self, hours: Spread) -> dict[str, Any]:
        """Return the bands of so many hours, their money (None without a price), energy and carbon."""
        kwh, money = self.kwh(hours), self.money(hours)
        carbon = kwh.scaled(self.kg_co2_per_kwh)
        bands = {"hours": hours, "money": money, "energy_kwh": kwh, "kg_co2": carbon}
        return {name: spread and spread.band() for name, spread in bands.items()}


def mean_bits(by_source: Mapping[str, float], is_old: bool) -> float | None:
    """Return the mean of a run's new sources, or of those that it replays, each alike; None where there is none."""
    found = [bits for name, bits in by_source.items() if name != "all" and name.startswith(REPLAYED) == is_old]
    return fmean(found) if found else None


@dataclass(frozen=True)
class FromBase:
    """Bits per byte that a run from a base ends at, on its new text and on the base's, and by what; None if unknown.

    `break_even` are the tokens at which a run from scratch would be as good on the new text.
    """

    new: Band
    old: Band | None
    break_even: Band | None
    how: dict[str, str]


@dataclass(frozen=True)
class LossOutlook:
    """A spread, or why there is none; `notes` are what makes it less sure than others.

    A run from a base has two losses in `from_base`, and the spread is that of its new text.
    """

    spread: Spread | None
    how: str
    notes: tuple[str, ...] = ()
    from_base: FromBase | None = None


@dataclass(frozen=True)
class Band:
    """P10, P50 and P90: 80 % of actual values should lie from the first to the last."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class RunLimits:
    """Budgets and a target, each None where there is none; memory is what the machine has."""

    max_hours: float | None = None
    max_money: float | None = None
    target_loss: float | None = None
    memory_bytes: float | None = None


@dataclass(frozen=True)
class Forecast:
    """Bands and their sources; None where nothing is known. `training` is what the run's own clock will count.

    Hours, US dollars, kWh, kg of CO2, GB; the loss in the unit of its table. `probabilities` are those of breaking
    a limit.
    """

    hours: Band
    money: Band | None
    energy_kwh: Band
    kg_co2: Band
    memory_gb: Band
    loss: Band | None
    training: dict[str, Band]
    seconds: dict[str, Band]
    probabilities: dict[str, float | None]
    how: dict[str, str]
    from_base: FromBase | None = None


def forecast(
    seconds: dict[str, Spread],
    speed_deviation: float,
    memory: Spread,
    loss: LossOutlook,
    devices: DeviceGroup,
    limits: RunLimits,
    how: dict[str, str],
) -> Forecast:
    """Return the bands of every quantity.

    `seconds` are medians of the run's parts and what is unsure of each alone: how fast the machine is, known to
    `speed_deviation`, all share. `how` names the source of time, memory, energy, money and loss, a line each.
    """
    speed = Spread(1.0, speed_deviation)
    hours = Spread.sum_of(seconds.values()).times(speed, 1 / 3600)
    counted = (part for name, part in seconds.items() if name in TRAINING_PARTS)
    trained = Spread.sum_of(counted).times(speed, 1 / 3600)
    return Forecast(
        **devices.bands(hours),
        memory_gb=memory.scaled(1e-9).band(),
        loss=None if loss.spread is None or loss.from_base else loss.spread.band(),
        training={"hours": trained.band(), "energy_kwh": devices.kwh(trained).band()},
        seconds={name: part.times(speed).band() for name, part in seconds.items()},
        probabilities={
            name: quantity.chance_above(limit) if quantity and limit else None
            for name, quantity, limit in (
                ("over_max_hours", hours, limits.max_hours),
                ("over_max_money", devices.money(hours), limits.max_money),
                ("over_memory", memory, limits.memory_bytes),
                ("misses_target_loss", loss.spread, limits.target_loss),
            )
        },
        how=how | {"loss": loss.how},
        from_base=loss.from_base,
    )


BYTES_PER_VALUE = 4  # weights, gradients and optimizer state are fp32


@dataclass(frozen=True)
class StepWork:
    """A model, its optimizer, and so many microbatches of so many rows on each rank of a mesh.

    `recompute` are blocks, or "selective"; `dtype` is that of a run (machine.dtype).
    """

    model: ModelSettings
    optim: OptimSettings
    mesh: Mesh = field(default_factory=Mesh)
    num_rows: int = 1
    num_microbatches: int = 1
    recompute: int | Literal["selective"] = 0
    dtype: str = "bfloat16"

    @property
    def microbatch_tokens(self) -> int:
        return self.num_rows * self.model.seq_len

    @property
    def layer_tokens(self) -> int:
        """Tokens that a rank's layers compute with; between layers it has a part of these along `tensor`."""
        return self.microbatch_tokens // self.mesh.context

    @property
    def value_bytes(self) -> int:
        """Bytes of an activation: int8 and float8 are formats of products alone."""
        return 4 if self.dtype == "float32" else 2


def checkpoint_bytes(model: ModelSettings, optim: OptimSettings) -> int:
    """Return the bytes of weights and optimizer state, of which Muon keeps one value a weight, AdamW two."""
    parameters = count_parameters(model)
    matrices = parameters.matmul - model.vocab_size * model.d_model
    values_kept = (1 if optim.name == "muon" else 2) * matrices + 2 * (parameters.total - matrices)
    return BYTES_PER_VALUE * (parameters.total + values_kept)


@dataclass(frozen=True)
class PeakBytes:
    """The most that a process holds, by what takes it.

    `exchanged` are copies of what passes between ranks, `slack` is what an allocator holds besides.
    """

    process: float
    state: float
    exchanged: float
    activations: float
    slack: float = 0.0

    @property
    def total(self) -> float:
        return self.process + self.tensors + self.slack

    @property
    def tensors(self) -> float:
        return self.state + self.exchanged + self.activations

    def __str__(self) -> str:
        parts = {
            "libraries and text": self.process,
            "weights, gradients and optimizer state": self.state,
            "on its way between ranks": self.exchanged,
            "activations": self.activations,
            "of the allocator's": self.slack,
        }
        return " + ".join(f"{size(value)} {name}" for name, value in parts.items() if value)
