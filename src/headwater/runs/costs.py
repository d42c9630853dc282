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

    def applied(self, devices: DeviceGroup) -> DeviceGroup:
        """Return the devices with what the file says of them in place of what is usual."""
        if self.price_per_hour is not None:
            how = f"${self.price_per_hour} an hour, of the costs file"
            devices = replace(devices, usd_per_hour=Spread(self.price_per_hour), price_how=how)
        if self.watts is not None:
            devices = replace(devices, watts=Spread(self.watts), power_how=f"{self.watts:g} W of the costs file")
        carbon = self.kg_co2_per_kwh or devices.kg_co2_per_kwh
        return replace(devices, pue=self.pue or devices.pue, kg_co2_per_kwh=carbon)


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
