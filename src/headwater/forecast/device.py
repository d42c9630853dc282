"""Accelerators: the data sheet of each and the price of an hour, from tables that the user can replace. No torch."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import ConfigError
from headwater.forecast.result import Spread
from headwater.intervals import Z_P90
from headwater.tables import CsvRow, number, required, table

COLUMNS = (
    "name",
    "architecture",
    "bf16_TFLOPs",
    "memory_GB",
    "memory_TBps",
    "watts",
    "link_GBps",
    "network_GBps",
    "node_size",
)
PRICE_COLUMNS = ("device", "kind", "usd_per_hour")
KINDS = ("reserved", "on_demand", "spot")
USUAL_KIND = "on_demand"
"What every device is priced at unless another kind is named, so that devices can be compared."
WITHOUT_BF16 = frozenset({"volta", "turing"})  # by NVIDIA's white papers of these; a user's table may have Turing


@dataclass(frozen=True)
class Device:
    """One accelerator. Rates are dense peaks and one-directional bandwidths of the data sheet, in FLOP/s and bytes/s.

    `links` is what a device exchanges with all others of its node of `node_size` together, `network` its part of the
    node's network cards; a rate in fp8 or fp4 is None where there are no such units. `watts` is the limit it runs at,
    `full_watts` that of the data sheet's peaks. The limit is also its mean power in training with its share of host
    and network, before cooling: nearer to published energies than 0.9 of it (benchmarks/cost_backtest.py).
    """

    name: str
    architecture: str
    bf16_flops: float
    fp8_flops: float | None
    fp4_flops: float | None
    memory_bytes: float
    memory_bandwidth: float
    watts: float
    full_watts: float
    links: float
    network: float
    node_size: int

    def peak_flops(self, precision: str) -> float:
        """Return the dense peak of matrix multiplication; raise ConfigError where the device has no such units."""
        peaks = {"fp8": self.fp8_flops, "fp4": self.fp4_flops}
        peak = peaks.get(precision, self.bf16_flops)
        if peak is None:
            has = [name for name, value in peaks.items() if value is not None]
            raise ConfigError(
                f"{self.name} multiplies no {precision}: the hardware table has no {precision} rate of it; take "
                f"{' or '.join(['bf16', *has])}, or another device"
            )
        return peak

    @property
    def has_bf16(self) -> bool:
        """Whether the 16 bits of the table's rate are bf16; else they are fp16, which headwater doesn't train in."""
        return self.architecture not in WITHOUT_BF16

    @property
    def clock(self) -> float:
        """Return how fast it may run under its power limit: power goes as the cube of frequency (CMOS scaling)."""
        return min(1.0, (self.watts / self.full_watts) ** (1 / 3))


def read_devices(path: Path | None = None) -> dict[str, Device]:
    """Return devices by every name they go by, in lower case without punctuation."""
    devices: dict[str, Device] = {}
    for place, row in table("hardware.csv", path, COLUMNS):
        device = _device(place, row)
        for name in [device.name, *(row.get("aliases") or "").split(";")]:
            if name.strip():
                devices[_key(name)] = device
    return devices


def find_device(name: str, devices: dict[str, Device]) -> Device:
    """Return the device of that name; raise ConfigError with the names there are."""
    device = known_device(name, devices)
    if device is None:
        names = sorted({device.name for device in devices.values()})
        near = difflib.get_close_matches(_key(name), devices, n=1, cutoff=0.6)
        hint = f"; did you mean {devices[near[0]].name}?" if near else "."
        raise ConfigError(f"no device {name!r} in the hardware table{hint} It has {', '.join(names)}")
    return device


def known_device(name: str, devices: dict[str, Device]) -> Device | None:
    """Return the device of that name, None where there is none."""
    return devices.get(_key(name))


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _device(place: str, row: CsvRow) -> Device:
    where = f"{place}, {row['name'] or 'a row without name'}"
    bf16 = required(row, "bf16_TFLOPs", where=where)
    narrow = {name: number(row, f"{name}_TFLOPs", where=where) for name in ("fp8", "fp4")}
    fp8, fp4 = (None if rate is None else rate * 1e12 for rate in narrow.values())
    watts = required(row, "watts", where=where)
    return Device(
        name=row["name"],
        architecture=row["architecture"],
        bf16_flops=bf16 * 1e12,
        fp8_flops=fp8,
        fp4_flops=fp4,
        memory_bytes=required(row, "memory_GB", where=where) * 1e9,
        memory_bandwidth=required(row, "memory_TBps", where=where) * 1e12,
        watts=watts,
        full_watts=number(row, "full_watts", where=where) or watts,
        links=required(row, "link_GBps", where=where) * 1e9,
        network=required(row, "network_GBps", where=where) * 1e9,
        node_size=int(required(row, "node_size", where=where)),
    )


@dataclass(frozen=True)
class Price:
    """US dollars a device-hour: the usual one, and the range seen."""

    kind: str
    usd_per_hour: float
    low: float
    high: float
    date: str
    source: str

    @property
    def spread(self) -> Spread:
        """The usual price; the range seen is taken to hold four of five."""
        return Spread(self.usd_per_hour, math.log(self.high / self.low) / (2 * Z_P90))


def read_prices(kind: str | None = None, path: Path | None = None) -> list[tuple[str, CsvRow]]:
    """Return the prices of a kind, of every kind where it is None, each with its file and line.

    Raises ConfigError for a table that lacks a column, DataError for a file that is no table.
    """
    return [(place, row) for place, row in table("prices.csv", path, PRICE_COLUMNS) if kind in (None, row["kind"])]


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
