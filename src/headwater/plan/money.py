"""Money: device-hours at a price, for the final run and for the programme around it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.errors import ConfigError
from headwater.plan.device import Device, known_device, read_devices
from headwater.plan.tables import CsvRow, number, required, table

COLUMNS = ("device", "kind", "usd_per_hour")
KINDS = ("reserved", "on_demand", "spot")
PROGRAMME_FACTOR = (1.5, 5.6)
"""Compute of a whole programme over its final run's: +50 % of energy for OLMo 2 (arXiv:2503.05804); development was
82.2 % of Olmo 3's compute, 1 / (1 - 0.822)."""


@dataclass(frozen=True)
class Price:
    """US dollars a device-hour: the usual one, and the range seen."""

    kind: str
    usd_per_hour: float
    low: float
    high: float
    date: str
    source: str


@dataclass(frozen=True)
class Cost:
    """Dollars of the final run, and of the programme: the least and the most that such programmes needed."""

    run_usd: float
    programme_usd: tuple[float, float]
    price: Price


def read_prices(kind: str | None = None, path: Path | None = None) -> list[tuple[str, CsvRow]]:
    """Return the prices of a kind, of every kind where it is None, each with its file and line.

    Raises ConfigError for a kind that isn't one or a table that lacks a column, DataError for a file that is no table.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"{kind!r} is no kind of price; there are {', '.join(KINDS)}")
    return [(place, row) for place, row in table("prices.csv", path, COLUMNS) if kind in (None, row["kind"])]


def find_price(
    device: Device, kind: str | None = None, path: Path | None = None, devices: Path | None = None
) -> Price | None:
    """Return the price of a device, of `kind` or else the first in the table; None when the table has none.

    Prices of devices that the hardware table lacks are passed over: a user's table may hold one device only.
    Raises what `read_prices` does.
    """
    known = read_devices(devices)
    for place, row in read_prices(kind, path):
        priced = known_device(row["device"], known)
        if priced is None or priced.name != device.name:
            continue
        where = f"{place}, {row['device']} {row['kind']}"
        usd = required(row, "usd_per_hour", where=where)
        low, high = number(row, "low", where=where) or usd, number(row, "high", where=where) or usd
        return Price(row["kind"], usd, low, high, row.get("date") or "", row.get("source") or "")
    return None


def cost(device_hours: float, price: Price) -> Cost:
    """Return what hours cost; they should hold what failures and pauses take (`failures.goodput`)."""
    run = device_hours * price.usd_per_hour
    return Cost(run, (PROGRAMME_FACTOR[0] * run, PROGRAMME_FACTOR[1] * run), price)
