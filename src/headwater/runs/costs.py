"""The costs file of `headwater plan --costs FILE`: prices, power, site and tables of a person's own. No torch."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field

from headwater.config import RawSettings, Settings
from headwater.errors import ConfigError
from headwater.validation import validate

OF_A_BUDGET = ("price_kind", "prices", "hardware", "max_memory", "bytes_per_token", "final_share")
"What a plan of one run on this machine doesn't read."
FILES = ("prices", "sites", "hardware")


class Costs(Settings):
    """What an hour costs and draws; None or "" where the file doesn't say."""

    price_per_hour: float | None = Field(default=None, gt=0)
    "US dollars an hour of a device, or of this machine."
    price_kind: Literal["", "reserved", "on_demand", "spot"] = ""
    "A column of the price table."
    watts: float | None = Field(default=None, gt=0)
    "What a device, or this machine, draws in training."
    site: str = ""
    "A row of the sites table: its PUE and carbon."
    prices: Path | None = None
    "A table instead of headwater's; so are the next two."
    sites: Path | None = None
    hardware: Path | None = None
    max_memory: str = ""
    "What may be used of a device, such as 60G."
    bytes_per_token: float | None = Field(default=None, gt=0)
    "Of the tokenizer."
    final_share: float | None = Field(default=None, gt=0, le=1)
    "Part of the budget for the final run."

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
        # paths are beside the file
        values |= {name: str(path.parent / Path(values[name]).expanduser()) for name in FILES if name in values}
    except FileNotFoundError:
        raise ConfigError(f"--costs: no such file: {path}") from None
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # no UTF-8, no TOML, a path that is none
        raise ConfigError(f"--costs {path}: {error}") from None
    return validate(Costs, RawSettings(values, dict.fromkeys(values, str(path))))
