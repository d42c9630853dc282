"""What may be spent on a run, on which devices, for how much text. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headwater.errors import ConfigError
from headwater.forecast.result import DeviceGroup

MAX_YEARS, HOURS_PER_YEAR = 10, 8766.0
"Beyond it a plan is arithmetic and no advice: machines are replaced sooner, and published runs took months."


@dataclass(frozen=True)
class Budget:
    """What may be spent: US dollars or hours, the other None. `text` is how it was written."""

    text: str
    usd: float | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Query:
    """A budget of one run on these devices, for text of `unique` tokens (infinite: no limit).

    Raises ConfigError for what no search can answer.
    """

    name: str
    budget: Budget
    devices: DeviceGroup
    unique: float
    text_how: str

    def __post_init__(self) -> None:
        if self.budget.usd is not None and self.devices.usd_per_hour is None:
            raise ConfigError(f"a budget of money needs a price: {self.devices.price_how}")
        years = self.hours / HOURS_PER_YEAR
        if years > MAX_YEARS:
            most = self.hours * MAX_YEARS / years
            amount = f"{most:,.0f}h" if self.budget.usd is None else f"${self.devices.usd(most):,.0f}"
            raise ConfigError(
                f"the budget {self.budget.text} is {years:,.3g} years on {self.devices.num_devices} × "
                f"{self.devices.device}, and no run is planned that takes more than {MAX_YEARS} years: take more "
                f"hardware, or a budget of at most {amount}"
            )

    @property
    def hours(self) -> float:
        if self.budget.usd is None:
            return self.budget.hours or 0.0
        return self.budget.usd / (self.devices.usd(1.0) or math.inf)
