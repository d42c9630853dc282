"""Devices, prices and data centres: tables that ship, and that the user can replace. No torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from headwater.errors import ConfigError
from headwater.forecast.result import Spread
from headwater.intervals import Z_P90
from headwater.tables import CsvRow, number, required, table

COLUMNS = ("name", "architecture", "bf16_TFLOPs", "memory_GB", "watts", "link_GBps", "network_GBps", "node_size")
PRICE_COLUMNS = ("device", "kind", "usd_per_hour")
SITE_COLUMNS = ("site", "pue", "kg_co2_per_kwh")
USUAL_KIND = "on_demand"
"What every device is priced at unless another kind is named, so that devices can be compared."
AVERAGE = "average"
WITHOUT_BF16 = frozenset({"volta", "turing"})  # by NVIDIA's white papers of these; a user's table may have Turing


@dataclass(frozen=True)
class Device:
    """One accelerator: the dense peak of 16-bit products in FLOP/s, bytes of memory, watts of its limit, bytes/s.

    `links` is what a device exchanges with all others of its node of `node_size` together, `network` its part of the
    node's network cards, one way. The power limit is also its mean power in training with its share of host and
    network, before cooling: nearer to published energies than 0.9 of it (benchmarks/cost_backtest.py).
    """

    name: str
    architecture: str
    bf16_flops: float
    memory_bytes: float
    watts: float
    links: float
    network: float
    node_size: int

    @property
    def has_bf16(self) -> bool:
        """Whether the 16 bits of the table's rate are bf16; else they are fp16, which headwater doesn't train in."""
        return self.architecture not in WITHOUT_BF16


D = TypeVar("D", bound=Device)


def device_of(row: CsvRow, where: str) -> Device:
    """Return the device of a row; raise DataError for a cell that can't be."""
    return Device(
        name=row["name"],
        architecture=row["architecture"],
        bf16_flops=required(row, "bf16_TFLOPs", where=where) * 1e12,
        memory_bytes=required(row, "memory_GB", where=where) * 1e9,
        watts=required(row, "watts", where=where),
        links=required(row, "link_GBps", where=where) * 1e9,
        network=required(row, "network_GBps", where=where) * 1e9,
        node_size=int(required(row, "node_size", where=where)),
    )


def read_devices(path: Path | None = None) -> dict[str, Device]:
    """Return devices by every name they go by, in lower case without punctuation."""
    return devices_by_name(path, device_of)


def devices_by_name(path: Path | None, make: Callable[[CsvRow, str], D]) -> dict[str, D]:
    """Return what `make` makes of each row, by every name it goes by."""
    devices: dict[str, D] = {}
    for place, row in table("hardware.csv", path, COLUMNS):
        device = make(row, f"{place}, {row['name'] or 'a row without name'}")
        names = [device.name, *(row.get("aliases") or "").split(";")]
        devices |= {_key(name): device for name in names if name.strip()}
    return devices


def find_device(name: str, devices: dict[str, D]) -> D:
    """Return the device of that name; raise ConfigError with the names there are."""
    device = devices.get(_key(name))
    if device is None:
        names = sorted({device.name for device in devices.values()})
        near = difflib.get_close_matches(_key(name), devices, n=1, cutoff=0.6)
        hint = f"; did you mean {devices[near[0]].name}?" if near else "."
        raise ConfigError(f"no device {name!r} in the hardware table{hint} It has {', '.join(names)}")
    return device


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def find_price(
    device: Device, kind: str | None = None, path: Path | None = None, devices: Path | None = None
) -> tuple[Spread | None, str]:
    """Return US dollars a device-hour, of `kind`, else on demand, else the first in the table, and which price it is.

    None, and why, where there is none. The range seen is taken to hold four of five. Prices of devices that the
    hardware table lacks are passed over: a user's table may hold one device only. Raises ConfigError for a table that
    lacks a column, DataError for a file that is no table.
    """
    known = read_devices(devices)
    rows = [
        (place, row)
        for place, row in table("prices.csv", path, PRICE_COLUMNS)
        if (priced := known.get(_key(row["device"]))) is not None and priced.name == device.name
    ]
    # on demand first, where no kind is named
    for place, row in sorted(rows, key=lambda found: found[1]["kind"] != USUAL_KIND):
        if kind in (None, row["kind"]):
            where = f"{place}, {row['device']} {row['kind']}"
            usd = required(row, "usd_per_hour", where=where)
            low, high = number(row, "low", where=where) or usd, number(row, "high", where=where) or usd
            seen = "" if low == high else f"; {low:g} to {high:g} seen"
            how = f"{row['kind']} price of {row.get('date') or 'no date'}: {row.get('source') or 'no source'}{seen}"
            return Spread(usd, math.log(high / low) / (2 * Z_P90)), how
    others = ", ".join(row["kind"] for _, row in rows)
    return None, (
        f"no {f'{kind} ' if kind else ''}price of {device.name} is in the price table"
        f"{f'; it has {others}' if others else ''}: give price_per_hour in a costs file (--costs)"
    )


@dataclass(frozen=True)
class Site:
    """A data centre: energy over that of its computers (PUE), and carbon of its electricity."""

    name: str
    pue: float
    kg_co2_per_kwh: float


def find_site(name: str = AVERAGE, path: Path | None = None) -> Site:
    """Return a site of the table; raise ConfigError with the names there are."""
    rows = table("sites.csv", path, SITE_COLUMNS)
    for place, row in rows:
        if row["site"] == name:
            where = f"{place}, {name}"
            pue = required(row, "pue", where=where)
            if pue < 1:
                raise ConfigError(
                    f"{where}: pue={pue} is below 1, which is a data centre that uses less than its computers"
                )
            return Site(name, pue, required(row, "kg_co2_per_kwh", where=where))
    raise ConfigError(f"no site {name!r} in the sites table; it has {', '.join(row['site'] for _, row in rows)}")


def site_or_average(name: str, path: Path | None = None) -> tuple[Site, float, str]:
    """Return the site whose electricity counts, its PUE, and both in words.

    Without a name the machine stands in no data centre: nothing is spent on cooling, and carbon is the average's.
    """
    site = find_site(name or AVERAGE, path)
    carbon = f"{site.kg_co2_per_kwh:g} kg of CO2 a kWh of the site {site.name}"
    if name:
        return site, site.pue, f"PUE {site.pue:g} and {carbon}"
    return site, 1.0, f"nothing for cooling, {carbon}: a costs file names another site"
