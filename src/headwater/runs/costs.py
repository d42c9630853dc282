"""The costs file of `headwater plan --costs FILE`: prices, power, site and tables of a person's own. No torch."""

from __future__ import annotations

import difflib
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.errors import ConfigError

NUMBERS = ("price_per_hour", "watts", "bytes_per_token", "final_share")
TEXTS = ("price_kind", "site", "max_memory")
FILES = ("prices", "sites", "hardware")
NAMES = (*NUMBERS, *TEXTS, *FILES)
OF_A_BUDGET = ("price_kind", "prices", "hardware", "max_memory", "bytes_per_token", "final_share")
"What a plan of one run on this machine doesn't read."


@dataclass(frozen=True)
class Costs:
    """What an hour costs and draws; None or "" where the file doesn't say.

    price_per_hour   US dollars an hour of a device, or of this machine
    price_kind       reserved, on_demand or spot: a column of the price table
    watts            what a device, or this machine, draws in training
    site             a row of the sites table: its PUE and carbon
    prices, sites, hardware  tables instead of headwater's
    max_memory       what may be used of a device, such as 60G
    bytes_per_token  of the tokenizer
    final_share      part of the budget for the final run
    """

    price_per_hour: float | None = None
    price_kind: str = ""
    watts: float | None = None
    site: str = ""
    prices: Path | None = None
    sites: Path | None = None
    hardware: Path | None = None
    max_memory: str = ""
    bytes_per_token: float | None = None
    final_share: float | None = None

    def require_of_a_run(self) -> None:
        """Raise ConfigError for what only a search over a budget reads."""
        for name in OF_A_BUDGET:
            if getattr(self, name):
                raise ConfigError(f"--costs: {name} counts with --budget alone; remove it to plan one run")


def read_costs(path: Path | None) -> Costs:
    """Return the costs of a TOML file, the defaults without one; raise ConfigError for what can't be one."""
    if path is None:
        return Costs()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"--costs: no such file: {path}") from None
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8, no TOML, a number of too many digits
        raise ConfigError(f"--costs {path}: {error}") from None
    return Costs(**{name: _value(path, name, value) for name, value in values.items()})


def _value(path: Path, name: str, value: Any) -> Any:
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it may have {', '.join(NAMES)}"
        raise ConfigError(f"{path}: there is no {name}{hint}")
    if name in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
            raise ConfigError(f"{path}: {name} = {value!r} must be a number above zero")
        return float(value)
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {name} = {value!r} must be text in quotes")
    if name == "price_kind":
        from headwater.forecast.device import KINDS

        if value not in KINDS:
            raise ConfigError(f"{path}: price_kind = {value!r} is none of {', '.join(KINDS)}")
    return path.parent / _at_home(path, name, value) if name in FILES else value


def _at_home(path: Path, name: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: {name} = {value!r}: there is no such home folder") from None
