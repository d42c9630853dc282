"""The costs file of `headwater plan --costs FILE`: a person's own prices, power and table of devices. No torch."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from headwater.config import RawSettings, Settings
from headwater.errors import ConfigError
from headwater.forecast.result import DeviceGroup, Spread
from headwater.validation import validate

OF_A_BUDGET = ("hardware", "max_memory", "final_share")
"What a plan of one run on this machine doesn't read."
PUE, KG_CO2_PER_KWH = 1.2, 0.4
"Of a data centre: OLMo 2's (arXiv:2501.00656), and carbon between the averages of the United States and the world."


class Costs(Settings):
    """What an hour costs and draws; None or "" where the file doesn't say."""

    price_per_hour: float | None = Field(default=None, gt=0)
    "US dollars an hour of a device, or of this machine."
    watts: float | None = Field(default=None, gt=0)
    "What a device, or this machine, draws in training."
    pue: float | None = Field(default=None, ge=1)
    "Energy of the data centre over that of its computers."
    kg_co2_per_kwh: float | None = Field(default=None, gt=0)
    hardware: Path | None = None
    "A table of devices instead of headwater's."
    max_memory: str = ""
    "What may be used of a device, such as 60G."
    final_share: float | None = Field(default=None, gt=0, le=1)
    "Part of the budget for the final run."

    def applied(self, devices: DeviceGroup, usual_pue: float = 1.0) -> DeviceGroup:
        """Return the devices with what the file says of them in place of what is usual."""
        price, watts, limit = self.price_per_hour, self.watts, devices.memory_limit
        if price is not None:
            how = f"${price} an hour, of the costs file"
            devices = replace(devices, usd_per_hour=Spread(price), price_how=how)
        if watts is not None:
            devices = replace(devices, watts=Spread(watts), power_how=f"{watts:g} W of the costs file")
        if self.max_memory:
            from headwater.forecast.budget import parse_amount  # of a search alone

            limit = min(limit, parse_amount("max_memory", self.max_memory, "bytes"))
        pue, carbon = self.pue or usual_pue, self.kg_co2_per_kwh or KG_CO2_PER_KWH
        cooling = f"PUE {pue:g}" if pue > 1 else "nothing for cooling"
        source = "" if self.kg_co2_per_kwh else ", between the averages of the US and the world"
        how = f"{devices.power_how}, {cooling}, {carbon:g} kg of CO2 a kWh{source}"
        return replace(devices, memory_limit=limit, pue=pue, kg_co2_per_kwh=carbon, energy_how=how)

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
        if "hardware" in values:  # beside the file
            values["hardware"] = str(path.parent / Path(values["hardware"]).expanduser())
    except FileNotFoundError:
        raise ConfigError(f"--costs: no such file: {path}") from None
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # no UTF-8, no TOML, a path that is none
        raise ConfigError(f"--costs {path}: {error}") from None
    return validate(Costs, RawSettings(values, dict.fromkeys(values, str(path))))
