"""What is asked of a search over a budget: money or time, what the machine costs, how much text. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.errors import ConfigError
from headwater.forecast.budget import Budget

FINAL_SHARE = 2 / 3
FINAL_SHARE_SOURCE = (
    "development took OLMo 2 half the energy of its final run (arXiv:2503.05804), so the run is 1 / 1.5 of "
    "the programme; Olmo 3's was 18 %"
)
MIN_TEXT_TOKENS = 1000
MAX_YEARS, HOURS_PER_YEAR = 10, 8766.0
"Beyond it a plan is arithmetic and no advice: machines are replaced sooner, and published runs took months."


@dataclass(frozen=True)
class Rates:
    """What an hour of the machine costs: dollars and watts a device, None where no price is known."""

    num_devices: int
    device: str
    usd_per_hour: float | None
    price_how: str
    watts: float
    watts_deviation: float
    pue: float
    kg_co2_per_kwh: float
    energy_how: str
    hours_how: str = "from the steps of earlier runs here, or from a model of this processor"
    hours_backtest: dict[str, float] | None = None


@dataclass(frozen=True)
class Query:
    """A budget for text of `unique` tokens (infinite: no limit); `final_share` of it is the final run's."""

    budget: Budget
    final_share: float
    rates: Rates
    unique: float
    text_how: str
    serve_tokens: float | None = None
    share_how: str = ""

    def check(self) -> None:
        """Raise ConfigError for what no search can answer."""
        if not 0 < self.final_share <= 1:
            raise ConfigError(f"final_share {self.final_share:g} must be above 0 and at most 1")
        if self.unique < MIN_TEXT_TOKENS:
            raise ConfigError(
                f"the text is too small: about {self.unique:.0f} tokens; at least {MIN_TEXT_TOKENS:,} are needed, "
                "and a million make sense: give more text"
            )
        if self.budget.usd is not None and self.rates.usd_per_hour is None:
            raise ConfigError(f"a budget of money needs a price: {self.rates.price_how}")
        if self.final_hours > MAX_YEARS * HOURS_PER_YEAR:
            raise ConfigError(self._too_long())

    def _too_long(self) -> str:
        times = self.final_hours / (MAX_YEARS * HOURS_PER_YEAR)
        budget, rates = self.budget, self.rates
        most = f"{(budget.hours or 0) / times:,.0f}h" if budget.usd is None else f"${budget.usd / times:,.0f}"
        return (
            f"the budget {budget.text} is {times * MAX_YEARS:,.3g} years of the final run on {rates.num_devices} × "
            f"{rates.device}, and no run is planned that takes more than {MAX_YEARS} years: take more hardware, or a "
            f"budget of at most {most}"
        )

    @property
    def final_hours(self) -> float:
        """Hours of the final run."""
        if self.budget.hours is not None:
            return self.budget.hours * self.final_share
        assert self.budget.usd is not None
        assert self.rates.usd_per_hour is not None
        return self.budget.usd * self.final_share / (self.rates.usd_per_hour * self.rates.num_devices)
