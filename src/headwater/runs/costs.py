"""The costs file of `headwater plan --costs FILE`: a person's own prices, power and table of devices. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field

from headwater.config import Settings
from headwater.forecast.result import DeviceGroup, Spread


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

    def applied(self, devices: DeviceGroup, usual_pue: float = 1.0) -> DeviceGroup:
        """Return the devices with what the file says of them in place of what is usual."""
        if self.price_per_hour is not None:
            how = f"${self.price_per_hour} an hour, of the costs file"
            devices = replace(devices, usd_per_hour=Spread(self.price_per_hour), price_how=how)
        if self.watts is not None:
            devices = replace(devices, watts=Spread(self.watts), power_how=f"{self.watts:g} W of the costs file")
        carbon = self.kg_co2_per_kwh or devices.kg_co2_per_kwh
        return replace(devices, pue=self.pue or usual_pue, kg_co2_per_kwh=carbon)
