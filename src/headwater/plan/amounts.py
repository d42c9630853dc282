"""Amounts as people write them: $10k, 2h, 40G, 8xH100."""

from __future__ import annotations

import math
import re

from headwater.core.errors import ConfigError
from headwater.machine.ranks.mesh import Place
from headwater.plan.budget import Budget
from headwater.plan.forecast.device import Accelerator, find_device

SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12, "p": 1e15}
BINARY: dict[str, float] = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40, "pi": 2**50}
SPANS = {"s sec second": 1 / 3600, "m min minute": 1 / 60, "h hr hour": 1.0, "d day": 24.0, "w week": 168.0}
HOURS = {unit: hours for units, hours in SPANS.items() for unit in units.split()}
NUMBER = r"(\d[\d,_]*\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)"
MAX_DEVICES = 1_000_000


def parse_budget(text: str) -> Budget:
    """Return an amount of money ($10k, 500 USD) or of time (2h, 90 min, 3d); raise ConfigError for anything else."""
    written = text.strip()
    plain = written.lower()
    money = re.fullmatch(rf"(\$|usd)?\s*{NUMBER}\s*([kmbt]?)\s*(\$|usd|dollars?)?", plain)
    if money and (money[1] is None) != (money[4] is None):
        return Budget(written, usd=_above_zero("--budget", written, _number(money[2]) * SCALES[money[3]]))
    if re.fullmatch(NUMBER + r"\s*M", written):
        raise ConfigError(f"--budget {text!r}: are these million dollars (${written}) or minutes (min)?")
    span = re.fullmatch(rf"{NUMBER}\s*([a-z]+?)s?", plain)
    if span and span[2] in HOURS:
        return Budget(written, hours=_above_zero("--budget", written, _number(span[1]) * HOURS[span[2]]))
    hint = ""
    if money:
        hint = f"; say whether {written} are dollars (${written}) or hours ({written}h)"
    if plain.startswith("-"):
        hint = "; give an amount above zero"
    if re.match(r"[.\d,]*k$", plain) or plain == "":
        hint += "; in a shell, put it in single quotes: '$10k'"
    raise ConfigError(f"--budget {text!r} is neither money like '$10k' nor time like 2h, 90min or 3d{hint}")


def parse_hardware(text: str, devices: dict[str, Accelerator]) -> tuple[int, Accelerator]:
    """Return how many of which device "8xH100" is; one without a number. Raises ConfigError."""
    match = re.fullmatch(r"\s*(-?\d[\d,_]*)\s*(?:[x×*]\s*|\s+)(\S.*?)\s*", text, re.IGNORECASE)
    number, name = match.groups() if match else ("1", text.strip())
    if not name:
        raise ConfigError("--hardware is empty; name devices like 8xH100")
    num_devices = int(_number(number))
    if not 1 <= num_devices <= MAX_DEVICES:
        raise ConfigError(f"--hardware {text!r}: {num_devices:,} devices; give 1 to {MAX_DEVICES:,}")
    return num_devices, find_device(name, devices)


def parse_ranks(text: str) -> Place:
    """Return the first of so many ranks: "8" on this machine, "4x8" on four like it; raise ConfigError."""
    found = re.fullmatch(r"(?:([1-9]\d*)x)?([1-9]\d*)", text, re.ASCII)
    if found is None:
        raise ConfigError(f"--ranks {text}: give a number of ranks, such as 8, or 4x8: 8 on each of 4 machines")
    num_local = int(found[2])
    return Place(0, int(found[1] or 1) * num_local, 0, num_local)


def parse_devices(
    hardware: str, ranks: str, fewest: int, table: dict[str, Accelerator]
) -> tuple[Accelerator | None, Place]:
    """Return the named device, None without one, and the first of the ranks.

    These are of --ranks, or one for each of several devices, else the `fewest` that the settings need. Machines of a
    device have equally many, at most its node_size: 12 of 8 a node are 2 × 6.
    """
    num_devices, device = parse_hardware(hardware, table) if hardware else (1, None)
    if num_devices > 1 and ranks:
        raise ConfigError(f"--hardware {hardware} counts the ranks, as --ranks {ranks} does; leave one of the two out")
    if ranks:
        return device, parse_ranks(ranks)
    num_ranks = num_devices if num_devices > 1 else fewest
    most_local = min(num_ranks, device.node_size) if device else num_ranks
    num_local = next(size for size in range(most_local, 0, -1) if num_ranks % size == 0)
    return device, Place(0, num_ranks, 0, num_local)


def parse_amount(option: str, text: str, noun: str) -> float:
    """Return a count of `noun` such as 40G, 40GB, 1.5T or 64GiB; raise ConfigError naming the option."""
    plain = text.strip().lower()
    # b is a byte or a billion
    scales, suffix = ("[kmgtp]i?", "b(?:ytes?)?") if noun == "bytes" else ("[kmgtpb]", noun)
    match = re.fullmatch(rf"{NUMBER}\s*({scales})?\s*(?:{suffix})?", plain)
    if match is None:
        raise ConfigError(f"{option} {text!r} is not a number of {noun}; write it like 40G, 1.5T or 300M")
    return _above_zero(option, text, _number(match[1]) * (SCALES | BINARY)[match[2] or ""])


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))


def _above_zero(option: str, text: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ConfigError(f"{option} {text}: give an amount above zero")
    return value
