"""A budget as a choice of runs: sizes × tokens, scored by a loss model, on one machine. No torch.

Who asks brings the machine: devices of a table (`cluster`), or the processor at hand (`runs.budget_search`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headwater.errors import ConfigError
from headwater.forecast.budget import Budget
from headwater.forecast.candidate import Candidate
from headwater.forecast.choices import MIN_STEPS, TOO_SHORT, Choice, Field, choose, recommended, repetition_of
from headwater.forecast.result import Band, Spread
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.scaling.published import NATS, OwnRuns, PublishedLaws
from headwater.scaling.repetition import MEASURED_EPOCHS, MEASURED_RATIO, NAME, repeated_loss
from headwater.scaling.table import MAX_EPOCHS

FINAL_SHARE = 2 / 3
FINAL_SHARE_SOURCE = (
    "development took OLMo 2 half the energy of its final run (arXiv:2503.05804), so the run is 1 / 1.5 of "
    "the programme; Olmo 3's was 18 %"
)
MIN_TEXT_TOKENS = 1000
MAX_YEARS, HOURS_PER_YEAR = 10, 8766.0
"Beyond it a plan is arithmetic and no advice: machines are replaced sooner, and published runs took months."
MIN_SIZE_RATIO = 1.25
"A ratio of sizes from which two laws are said to disagree."
PENALTY_NAME = "the penalty of headwater's runs"
LONG_HOURS = 90 * 24


@dataclass(frozen=True)
class Rates:
    """What an hour of the machine costs: dollars and watts a device; `usd_per_hour` None where no price is known.

    Deviations are those of the logarithm.
    """

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
    price_deviation: float = 0.0


@dataclass(frozen=True)
class Machine:
    """Where to train: its rates, about how many tokens it trains a model on in some seconds, and candidates."""

    rates: Rates
    estimated_tokens: Callable[[ModelSettings, float], float]
    candidate: Callable[[ModelSettings, float], Candidate | None]
    is_processor: bool = False


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
        times = self.final_hours / (MAX_YEARS * HOURS_PER_YEAR)
        if times > 1:
            budget, rates = self.budget, self.rates
            most = f"{(budget.hours or 0) / times:,.0f}h" if budget.usd is None else f"${budget.usd / times:,.0f}"
            raise ConfigError(
                f"the budget {budget.text} is {times * MAX_YEARS:,.3g} years of the final run on {rates.num_devices} "
                f"× {rates.device}, and no run is planned that takes more than {MAX_YEARS} years: take more hardware, "
                f"or a budget of at most {most}"
            )

    @property
    def final_hours(self) -> float:
        """Hours of the final run."""
        if self.budget.hours is not None:
            return self.budget.hours * self.final_share
        assert self.budget.usd is not None
        assert self.rates.usd_per_hour is not None
        return self.budget.usd * self.final_share / (self.rates.usd_per_hour * self.rates.num_devices)


@dataclass(frozen=True)
class Optimum:
    """The size and tokens of least loss that one law alone would choose within the budget."""

    law: str
    params: int
    tokens: float
    epochs: float


@dataclass(frozen=True)
class ChoiceForecast:
    """A choice and what it takes: bands are P10, P50 and P90. `loss` is None where no law reaches.

    `repetition_cost` is the part of the log loss that reading text again costs, `hours_by_part` adds up to the median.
    """

    choice: Choice
    is_recommended: bool
    epochs: float
    repetition_cost: float
    loss: Band | None
    hours: Band
    usd: Band | None
    kwh: Band
    memory_gib: Band
    hours_by_part: dict[str, float]
    served_device_hours: float


@dataclass(frozen=True)
class BudgetPlan:
    """The choices, compute-optimal first, and what each law alone would choose, of fresh text or of text read again."""

    query: Query
    field: Field
    choices: tuple[ChoiceForecast, ...]
    served: float
    losses_how: str
    by_law: tuple[Optimum, ...]
    by_repetition: tuple[Optimum, ...]
    notes: tuple[str, ...]
    num_sizes: int
    name: str = "budget"


def search(
    query: Query, models: Sequence[ModelSettings], machine: Machine, losses: PublishedLaws | OwnRuns
) -> BudgetPlan:
    """Return the plan; raise ConfigError where no size can be trained."""
    query.check()
    seconds, cap = query.final_hours * 3600, MAX_EPOCHS * query.unique
    made = (machine.candidate(model, min(cap, machine.estimated_tokens(model, seconds))) for model in models)
    candidates = tuple(each for each in made if each is not None)
    if not candidates:
        raise ConfigError(_nothing_fits(query, models[0]))
    field = Field(candidates, seconds, query.unique, losses, repetition_of(losses))
    if all(reason is not None for reason in field.refused):
        raise ConfigError(_nothing_trains(query, field))
    choices, served = choose(field, query.serve_tokens)
    fresh = [_optimum(name, replace(field, losses=law)) for name, law in losses.members]
    repeated = _laws_of_repetition(field) if any(each.tokens > query.unique for each in choices) else []
    return BudgetPlan(
        query=query,
        field=field,
        choices=tuple(
            _forecast(query, field, choice, served, place == recommended(choices, served))
            for place, choice in enumerate(choices)
        ),
        served=served,
        losses_how=losses.how(float(field.sizes[field.best]), choices[0].tokens),
        by_law=tuple(fresh),
        by_repetition=tuple(repeated),
        notes=(*_notes(query, field, choices[0]), *_notes_of_repetition(field, choices, repeated)),
        num_sizes=len(models),
    )


def _optimum(law: str, field: Field) -> Optimum:
    tokens = float(field.best_tokens[field.best])
    return Optimum(law, field.candidates[field.best].params, tokens, field.epochs(tokens))


def _laws_of_repetition(field: Field) -> list[Optimum]:
    """Return what the published law of repeated text would choose alone, and the penalty of headwater's runs.

    None for losses of a table of runs, in another unit.
    """
    if field.losses.unit != NATS:
        return []
    logs_cg = np.log(repeated_loss(field.params[:, None], field.grid_cg, field.unique))
    logs_cg[[reason is not None for reason in field.refused]] = np.inf
    best, at = np.unravel_index(int(logs_cg.argmin()), logs_cg.shape)
    tokens = float(field.grid_cg[best, at])
    published = Optimum(NAME, field.candidates[int(best)].params, tokens, field.epochs(tokens))
    return [published, _optimum(PENALTY_NAME, replace(field, repetition=field.losses.strength))]


def _notes_of_repetition(field: Field, choices: Sequence[Choice], laws: Sequence[Optimum]) -> list[str]:
    """Return where laws of repeated text disagree on the size, and where they leave what was measured."""
    own, found = choices[0].candidate.params, []
    others = [each for each in laws if max(own / each.params, each.params / own) > MIN_SIZE_RATIO]
    if others:
        sizes = "; ".join(f"{each.law} {_run(each.params, each.epochs)}" for each in others)
        found.append(
            f"laws of repeated text disagree on the size: chosen is {_run(own, field.epochs(choices[0].tokens))}, "
            f"by {sizes}. Nobody has measured which is right at this size"
        )
    density = max(each.candidate.params for each in choices) / field.unique
    epochs = max(field.epochs(each.tokens) for each in choices)
    if epochs > 1 and (density > MEASURED_RATIO or epochs > MEASURED_EPOCHS):
        found.append(
            f"the cost of repetition was measured up to {MEASURED_RATIO:g} parameters a unique token and "
            f"{MEASURED_EPOCHS:g} epochs, and is extrapolated here: up to {density:.2g} and {epochs:.1f}"
        )
    return found


def _run(params: float, epochs: float) -> str:
    size = f"{params / 1e9:.3g}B" if params >= 1e9 else f"{params / 1e6:.3g}M"
    return f"{size} parameters × {epochs:.1f} epochs"


def _forecast(query: Query, field: Field, choice: Choice, served: float, is_recommended: bool) -> ChoiceForecast:
    each, tokens, rates = choice.candidate, choice.tokens, query.rates
    size = float(field.sizes[field.candidates.index(each)])
    repeated = float(field.repetition.log_cost(np.array(float(each.params)), np.array(tokens), query.unique))
    if isinstance(field.losses, OwnRuns):
        loss = field.losses.quantiles(size, tokens, each.log_penalty, query.unique)
    else:
        deviation = field.repetition.deviation(each.params, tokens, query.unique)
        loss = field.losses.quantiles(size, tokens, each.log_penalty + repeated, deviation)
    hours = each.seconds(tokens, query.unique) / 3600
    kwh = hours * rates.num_devices * rates.watts / 1000 * rates.pue
    usd = None
    if rates.usd_per_hour is not None:
        spread = math.hypot(each.hours_deviation, rates.price_deviation)
        usd = Band(**Spread(hours * rates.num_devices * rates.usd_per_hour, spread).band())
    return ChoiceForecast(
        choice=choice,
        is_recommended=is_recommended,
        epochs=field.epochs(tokens),
        repetition_cost=repeated,
        loss=loss and Band(*loss),
        hours=Band(**Spread(hours, each.hours_deviation).band()),
        usd=usd,
        kwh=Band(**Spread(kwh, math.hypot(each.hours_deviation, rates.watts_deviation)).band()),
        memory_gib=Band(**Spread(each.memory_bytes / 2**30, each.memory_deviation).band()),
        hours_by_part={name: part / 3600 for name, part in each.seconds_by_part(tokens, query.unique).items()},
        served_device_hours=served * choice.cost[2] / 3600 * rates.num_devices,
    )


def _notes(query: Query, field: Field, first: Choice) -> list[str]:
    """Return what a reader of the choices must know besides."""
    found = []
    if math.isinf(query.unique):
        found.append("no --text-bytes: text is taken as unlimited")
    elif first.tokens < query.unique:
        found.append(f"the compute-optimal run reads {first.tokens / query.unique:.1%} of the text")
    unspent = 1 - first.cost[0] / field.seconds
    if unspent > 0.1:
        found.append(f"{unspent:.0%} of the final run's time is unspent: more text would use it, more epochs don't")
    if first.candidate.placement.precision == "fp8":
        found.append(
            "fp8 (machine.dtype=float8) is counted at 0.25 % of loss; headwater has never trained in it on a GPU"
        )
    if query.final_hours > LONG_HOURS:
        found.append(f"the final run takes {query.final_hours / 24:,.0f} days: more devices cost no more")
    refused = [reason for reason in field.refused if reason not in (None, TOO_SHORT)]
    if refused:
        found.append(f"{len(refused)} candidates are excluded: the table can't carry their loss: {refused[0]}")
    if query.rates.usd_per_hour is None:
        found.append(query.rates.price_how)
    if field.best == len(field.candidates) - 1:
        found.append("no larger model fits: with more memory one might be better")
    return found


def _nothing_fits(query: Query, smallest: ModelSettings) -> str:
    rates = query.rates
    return (
        f"no size fits: {count_parameters(smallest).total:,} parameters (the smallest) need more memory, or a "
        f"larger batch, than {rates.num_devices} × {rates.device} allow; take other or more devices, "
        "raise max_memory, or lower tokenizer.vocab_size or model.seq_len"
    )


def _nothing_trains(query: Query, field: Field) -> str:
    refusals = [reason for reason in field.refused if reason not in (None, TOO_SHORT)]
    if refusals:
        return (
            f"the table of runs (--runs, or the ladder of RUN) can't carry a forecast for any size of this budget: "
            f"{refusals[0]}; or drop --runs and RUN to use published laws"
        )
    cap, smallest = MAX_EPOCHS * query.unique, field.candidates[0]
    if cap < MIN_STEPS * smallest.batch_tokens:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives {cap:,.0f} tokens, less than {MIN_STEPS} steps "
            f"of {smallest.batch_tokens:,}; give more text or a smaller model.seq_len"
        )
    needs = smallest.seconds(float(MIN_STEPS) * smallest.batch_tokens, query.unique)
    return (
        f"the budget {query.budget.text} is {_span(query.final_hours * 3600)} of the final run on "
        f"{query.rates.num_devices} × {query.rates.device}; {MIN_STEPS} steps of the smallest model take "
        f"{_span(needs)}: raise the budget"
    )


def _span(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 3600:.3g} h"
