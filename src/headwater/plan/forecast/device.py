"""GPUs: by a table that ships and that the user can replace, with their prices; what training takes there. No torch.

Time is a whole run's by the plainest rule, 6 FLOPs a parameter and token at 40 % of the bf16 peak: a model of the step
came no nearer to hours of published runs (docs/decisions/0038). headwater itself was never timed on a GPU.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from headwater.core.errors import ConfigError, DataError
from headwater.core.intervals import Z_P90
from headwater.core.tables import CsvRow, number, required, table
from headwater.plan.forecast.result import DeviceGroup, Spread

COLUMNS = ("name", "architecture", "bf16_TFLOPs", "memory_GB", "watts", "node_size")
WITHOUT_BF16 = frozenset({"volta", "turing"})  # by NVIDIA's white papers of these, whose rate is fp16's
USUAL_UTILISATION = 0.4
HOURS_BACKTEST = {"runs": 25, "median": 0.192, "p90": 0.38}
"How far hours of whole published runs lie from the rule (benchmarks/cost_backtest.py)."
HOURS_HOW = (
    f"6 FLOPs a parameter and token at 40 % of the bf16 peak: {HOURS_BACKTEST['runs']} published whole runs were "
    f"{HOURS_BACKTEST['median']:.0%} off in the median, {HOURS_BACKTEST['p90']:.0%} at P90; four of five lie in P10 to "
    "P90. headwater itself was never timed on such devices, and float8 is planned at the speed of bf16"
)
HOURS_DEVIATION, MEMORY_DEVIATION, POWER_DEVIATION = 0.2686, 0.0356, 0.0898
"Of the logarithm: P10 to P90 hold 80 % of the published ones; memory's was that of a model of clusters (decision 38)."


@dataclass(frozen=True)
class Accelerator:
    """One accelerator: the dense peak of 16-bit products in FLOP/s, bytes of memory, watts of its limit.

    A node has `node_size` of them. The power limit is also its mean power in training with its share of host and
    network, before cooling: nearer to published energies than 0.9 of it (benchmarks/cost_backtest.py). The price of an
    hour is on demand, so that devices can be compared; the range seen is taken to hold four of five. None if unknown.
    """

    name: str
    architecture: str
    bf16_flops: float
    memory_bytes: float
    watts: float
    node_size: int
    usd_per_hour: Spread | None
    price_how: str

    def group(self, num_devices: int, pue: float = 1.0) -> DeviceGroup:
        """Return what these devices cost, draw and hold."""
        return DeviceGroup(
            device=self.name,
            hours_how=HOURS_HOW,
            watts=Spread(self.watts, POWER_DEVIATION),
            power_how=f"{self.name} at its limit of {self.watts:g} W",
            price_how=self.price_how,
            memory_limit=self.memory_bytes,
            usd_per_hour=self.usd_per_hour,
            num_devices=num_devices,
            hours_backtest=HOURS_BACKTEST,
            pue=pue,
        )

    def seconds_per_token(self, params: float, num_devices: int = 1, recomputed: float = 0.0) -> float:
        """Return a whole run's time for a token by the rule, with what is recomputed."""
        return (6 + 2 * recomputed) * params / (USUAL_UTILISATION * self.bf16_flops * num_devices)


def read_devices(path: Path | None = None) -> dict[str, Accelerator]:
    """Return devices by every name they go by, in lower case without punctuation; raise DataError for a wrong cell."""
    devices: dict[str, Accelerator] = {}
    for place, row in table("gpus.csv", path, COLUMNS):
        where = f"{place}, {row['name'] or 'a row without name'}"
        cells = {name: required(row, name, where=where) for name in COLUMNS[2:]}
        price, price_how = _price(row, where)
        if cells["node_size"] % 1:
            raise DataError(f"{where}: node_size={cells['node_size']:g} must be a whole number")
        device = Accelerator(
            name=row["name"],
            architecture=row["architecture"],
            bf16_flops=cells["bf16_TFLOPs"] * 1e12,
            memory_bytes=cells["memory_GB"] * 1e9,
            watts=cells["watts"],
            node_size=int(cells["node_size"]),
            usd_per_hour=price,
            price_how=price_how,
        )
        names = [device.name, *(row.get("aliases") or "").split(";")]
        devices |= {_key(name): device for name in names if name.strip()}
    return devices


def _price(row: CsvRow, where: str) -> tuple[Spread | None, str]:
    usd, low, high = (number(row, name, where=where) for name in ("usd_per_hour", "usd_low", "usd_high"))
    if usd is None:
        return None, (
            f"no price of {row['name']} is in the hardware table: give price_per_hour in a costs file (--costs)"
        )
    low, high = sorted((low or usd, high or usd))
    seen = "" if low == high else f"; {low:g} to {high:g} seen"
    how = f"on-demand price of {row.get('price_source') or 'unknown date and source'}{seen}"
    return Spread(usd, math.log(high / low) / (2 * Z_P90)), how


def find_device(name: str, devices: dict[str, Accelerator]) -> Accelerator:
    """Return the device of that name; raise ConfigError with the names there are."""
    device = devices.get(_key(name))
    if device is None:
        names = sorted({device.name for device in devices.values()})
        raise ConfigError(f"no device {name!r} in the hardware table, which has {', '.join(names)}")
    return device


def device_of_driver(name: str, devices: dict[str, Accelerator]) -> Accelerator | None:
    """Return the device that a driver calls so, such as NVIDIA A100-SXM4-40GB; None where it isn't in the table.

    Less memory in the name than in the table is true of this device; more is its host's (GH200 480GB).
    """
    words = [_key(word) for word in re.split(r"[^A-Za-z0-9]+", name)]
    phrases = {"".join(words[first:last]) for first, last in combinations(range(len(words) + 1), 2)}
    known = phrases & devices.keys()  # whole words: an RTX A1000 is no A100
    if not known:
        return None
    alias = max(known, key=len)
    device, gib = devices[alias], re.search(r"(\d+) ?GB", name)
    return device if gib is None else replace(device, memory_bytes=min(device.memory_bytes, int(gib[1]) * 2.0**30))


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
