"""Prices of a device-hour. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.errors import ConfigError
from headwater.forecast.device import Device, known_device, read_devices
from headwater.tables import CsvRow, number, required, table

COLUMNS = ("device", "kind", "usd_per_hour")
KINDS = ("reserved", "on_demand", "spot")
USUAL_KIND = "on_demand"
"What every device is priced at unless another kind is named, so that devices can be compared."


@dataclass(frozen=True)
class Price:
    """US dollars a device-hour: the usual one, and the range seen."""

    kind: str
    usd_per_hour: float
    low: float
    high: float
    date: str
    source: str


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
    """Return the price of a device, of `kind`, else on demand, else the first in the table; None when there is none.

    Prices of devices that the hardware table lacks are passed over: a user's table may hold one device only.
    Raises what `read_prices` does.
    """
    known = read_devices(devices)
    # on demand first, where no kind is named
    for place, row in sorted(read_prices(kind, path), key=lambda found: found[1]["kind"] != USUAL_KIND):
        priced = known_device(row["device"], known)
        if priced is None or priced.name != device.name:
            continue
        where = f"{place}, {row['device']} {row['kind']}"
        usd = required(row, "usd_per_hour", where=where)
        low, high = number(row, "low", where=where) or usd, number(row, "high", where=where) or usd
        return Price(row["kind"], usd, low, high, row.get("date") or "", row.get("source") or "")
    return None
