"""Amounts as people write them ($10k, 2h, 40G, 8xH100), and what is to be searched for them. No torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from headwater.errors import ConfigError
from headwater.forecast.device import Device, find_device
from headwater.forecast.result import Spread

SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12, "p": 1e15}
BINARY: dict[str, float] = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50}
HOURS = {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0}
NUMBER = r"(\d[\d,_]*\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)"
FINAL_SHARE = 2 / 3
FINAL_SHARE_SOURCE = "development took OLMo 2 half the energy of its final run (arXiv:2503.05804); Olmo 3's was 18 %"
MAX_YEARS, HOURS_PER_YEAR = 10, 8766.0
"Beyond it a plan is arithmetic and no advice: machines are replaced sooner, and published runs took months."


@dataclass(frozen=True)
class Budget:
    """What may be spent: US dollars or hours, the other None. `text` is how it was written."""

    text: str
    usd: float | None = None
    hours: float | None = None


def parse_budget(text: str) -> Budget:
    """Return an amount of money ($10k, 500 USD) or of time (2h, 90 min, 3d); raise ConfigError for anything else."""
    plain = text.strip().lower()
    if money := re.fullmatch(rf"\$\s*{NUMBER}\s*([kmbt]?)|{NUMBER}\s*([kmbt]?)\s*usd", plain):
        usd = _number(money[1] or money[3]) * SCALES[money[2] or money[4] or ""]
        if 0 < usd < math.inf:
            return Budget(text.strip(), usd=usd)
    span = re.fullmatch(rf"{NUMBER}\s*([a-z]+?)s?", plain)
    if span and span[2] in HOURS and 0 < (hours := _number(span[1]) * HOURS[span[2]]) < math.inf:
        return Budget(text.strip(), hours=hours)
    raise ConfigError(
        f"--budget {text!r} is neither money like '$10k' (in single quotes, for the shell) nor time like 2h, 90min or "
        "3d, above zero"
    )


def parse_hardware(text: str, devices: dict[str, Device]) -> tuple[int, Device]:
    """Return how many of which device "8xH100" is; one without a number. Raises ConfigError."""
    match = re.fullmatch(r"\s*(-?\d[\d,_]*)\s*(?:[x×*]\s*|\s+)(\S.*?)\s*", text, re.IGNORECASE)
    number, name = (match.group(1), match.group(2)) if match else ("1", text.strip())
    num_devices = int(_number(number))
    if num_devices < 1:
        raise ConfigError(f"--hardware {text!r}: name at least one device, like 8xH100")
    return num_devices, find_device(name, devices)


def parse_amount(option: str, text: str, noun: str) -> float:
    """Return a count of `noun` such as 40G, 40GB, 1.5T or 64GiB; raise ConfigError naming the option."""
    plain = text.strip().lower()
    # b is a byte or a billion
    scales, suffix = ("[kmgtp]i?", "b(?:ytes?)?") if noun == "bytes" else ("[kmgtpb]", noun)
    match = re.fullmatch(rf"{NUMBER}\s*({scales})?\s*(?:{suffix})?", plain)
    if match is None:
        raise ConfigError(f"{option} {text!r} is not a number of {noun}; write it like 40G, 1.5T or 300M")
    value = _number(match.group(1)) * (SCALES | BINARY)[match.group(2) or ""]
    if not 0 < value < math.inf:
        raise ConfigError(f"{option} {text}: give a number of {noun} above zero")
    return value


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))


@dataclass(frozen=True)
class Rates:
    """What an hour of the machine costs: dollars (None where no price is known) and watts a device."""

    num_devices: int
    device: str
    usd_per_hour: Spread | None
    price_how: str
    watts: Spread
    pue: float
    kg_co2_per_kwh: float
    energy_how: str
    hours_how: str
    node_size: int = 1

    def usd(self, hours: float) -> float | None:
        return None if self.usd_per_hour is None else hours * self.num_devices * self.usd_per_hour.median


@dataclass(frozen=True)
class Query:
    """A budget for text of `unique` tokens (infinite: no limit); `final_share` of it is the final run's.

    Raises ConfigError for what no search can answer.
    """

    budget: Budget
    final_share: float
    share_how: str
    rates: Rates
    unique: float
    text_how: str
    serve_tokens: float | None = None

    def __post_init__(self) -> None:
        if self.budget.usd is not None and self.rates.usd_per_hour is None:
            raise ConfigError(f"a budget of money needs a price: {self.rates.price_how}")
        if self.final_hours > MAX_YEARS * HOURS_PER_YEAR:
            raise ConfigError(
                f"the budget {self.budget.text} is {self.final_hours / HOURS_PER_YEAR:,.3g} years of the final run on "
                f"{self.rates.num_devices} × {self.rates.device}, and no run is planned that takes more than "
                f"{MAX_YEARS} years: take more hardware or a smaller budget"
            )

    @property
    def final_hours(self) -> float:
        """Hours of the final run."""
        if self.budget.usd is None:
            return (self.budget.hours or 0.0) * self.final_share
        return self.budget.usd * self.final_share / (self.rates.usd(1.0) or math.inf)

    def fields(self) -> dict[str, Any]:
        """Return what `headwater plan --budget --json` prints of the budget and the machine."""
        rates, hours = self.rates, {"programme": self.final_hours / self.final_share, "final_run": self.final_hours}
        return {
            "text": self.budget.text,
            "num_devices": rates.num_devices,
            "node_size": rates.node_size,
            "device": rates.device,
            "usd_per_device_hour": rates.usd_per_hour and rates.usd_per_hour.median,
            "price_how": rates.price_how,
            "energy_how": rates.energy_how,
            "hours_how": rates.hours_how,
            "final_share": self.final_share,
            "final_share_how": self.share_how,
            **{name: {"hours": part, "usd": rates.usd(part)} for name, part in hours.items()},
        }
