"""A budget as a choice of runs: sizes × tokens, scored by a loss model, on one machine. No torch.

Who asks brings the machine: devices of a table (`cluster`), or the processor at hand (`runs.budget_search`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from headwater.errors import ConfigError
from headwater.forecast.budget import Budget
from headwater.forecast.candidate import Candidate
from headwater.forecast.choices import MIN_STEPS, TOO_SHORT, Choice, Field, LossModel, Quantiles, choose, recommended
from headwater.forecast.repeated_text import Reading, RepeatedText, reading_of
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.scaling.table import MAX_EPOCHS

FINAL_SHARE = 2 / 3
FINAL_SHARE_SOURCE = (
    "development took OLMo 2 half the energy of its final run (arXiv:2503.05804), so the run is 1 / 1.5 of "
    "the programme; Olmo 3's was 18 %"
)
MIN_TEXT_TOKENS = 1000
MAX_YEARS, HOURS_PER_YEAR = 10, 8766.0
"Beyond it a plan is arithmetic and no advice: machines are replaced sooner, and published runs took months."
WINDOW = 0.08
"In log loss by a first guess: sizes further above the best one aren't laid out."
NUM_LENGTHS = 32
"Of a run, from one epoch to all that the time allows: at the best of them a size is judged."
FEW_SIZES = 4
"Sizes that must fit, so that there is something to choose from."
LONG_HOURS = 90 * 24


@dataclass(frozen=True)
class Rates:
    """What an hour of the machine costs: dollars and watts a device; `usd_per_hour` None where no price is known."""

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
class SizeAndTokens:
    """What a law alone would choose."""

    law: str
    params: int
    tokens: float


@dataclass(frozen=True)
class ChoiceForecast:
    """A choice and what it takes: bands are P10, P50 and P90. `loss` is None where no law reaches.

    `repetition_cost` is the part of the log loss that reading text again costs, `hours_by_part` adds up to the median.
    """

    choice: Choice
    is_recommended: bool
    epochs: float
    repetition_cost: float
    loss: Quantiles | None
    hours: Quantiles
    kwh: Quantiles
    memory_gib: Quantiles
    hours_by_part: dict[str, float]
    served_device_hours: float


@dataclass(frozen=True)
class BudgetPlan:
    """The choices, compute-optimal first, and what they rest on. `reading` is None where no choice repeats its text."""

    query: Query
    field: Field
    choices: tuple[ChoiceForecast, ...]
    served: float
    losses_how: str
    by_law: tuple[SizeAndTokens, ...]
    reading: Reading | None
    notes: tuple[str, ...]
    num_sizes: int
    name: str = "budget"


def search(query: Query, models: Sequence[ModelSettings], machine: Machine, losses: LossModel) -> BudgetPlan:
    """Return the plan; raise ConfigError where no size can be trained."""
    query.check()
    text = RepeatedText.of(losses)
    kept, least = _near_the_best(query, models, machine, losses, text)
    candidates = _candidates(kept, least, machine)
    if not candidates:
        raise ConfigError(_nothing_fits(query, kept[0].model))
    field = Field(candidates, query.final_hours * 3600, query.unique, losses, text.law)
    if all(reason is not None for reason in field.refused):
        raise ConfigError(_nothing_trains(query, field))
    choices, served = choose(field, query.serve_tokens)
    reading = reading_of(field, choices, text)
    notes = [*_notes(query, field, choices[0]), *(reading.notes if reading else ())]
    if min(kept, key=lambda each: each.log_loss).params > max(each.params for each in candidates):
        notes.append("a larger model would be worth the budget and doesn't fit: more memory would help")
    return BudgetPlan(
        query=query,
        field=field,
        choices=tuple(
            _forecast(query, field, choice, served, place == recommended(choices, served))
            for place, choice in enumerate(choices)
        ),
        served=served,
        losses_how=losses.how(float(field.sizes[field.best]), choices[0].tokens),
        by_law=tuple(_by_law(field)),
        reading=reading,
        notes=tuple(notes),
        num_sizes=len(models),
    )


def band(median: float, log_deviation: float) -> Quantiles:
    """Return P10, P50 and P90 of a log-normal quantity."""
    factor = math.exp(float(ndtri(0.9)) * log_deviation)
    return median / factor, median, median * factor


def _forecast(query: Query, field: Field, choice: Choice, served: float, is_recommended: bool) -> ChoiceForecast:
    each, tokens, rates = choice.candidate, choice.tokens, query.rates
    size = float(field.sizes[field.candidates.index(each)])
    repeated = float(field.repetition.log_cost(np.array(float(each.params)), np.array(tokens), query.unique))
    deviation = field.repetition.deviation(each.params, tokens, query.unique)
    hours = each.seconds(tokens, query.unique) / 3600
    kwh = hours * rates.num_devices * rates.watts / 1000 * rates.pue
    return ChoiceForecast(
        choice=choice,
        is_recommended=is_recommended,
        epochs=field.epochs(tokens),
        repetition_cost=repeated,
        loss=field.losses.quantiles(size, tokens, each.log_penalty + repeated, deviation),
        hours=band(hours, each.hours_deviation),
        kwh=band(kwh, math.hypot(each.hours_deviation, rates.watts_deviation)),
        memory_gib=band(each.memory_bytes / 2**30, each.memory_deviation),
        hours_by_part={name: part / 3600 for name, part in each.seconds_by_part(tokens, query.unique).items()},
        served_device_hours=served * choice.cost[2] / 3600 * rates.num_devices,
    )


@dataclass(frozen=True)
class SizeGuess:
    """A size, the tokens it might see, and its log loss then; infinite where no law says anything."""

    model: ModelSettings
    params: int
    tokens: float
    log_loss: float


def _near_the_best(
    query: Query, models: Sequence[ModelSettings], machine: Machine, losses: LossModel, text: RepeatedText
) -> tuple[list[SizeGuess], float]:
    """Return sizes up to the last whose loss isn't hopeless by a first guess, smallest first, and the least loss."""
    seconds = query.final_hours * 3600
    most = [min(MAX_EPOCHS * query.unique, machine.estimated_tokens(model, seconds)) for model in models]
    tokens = np.maximum(1.0, np.array(most))
    counts = [count_parameters(model) for model in models]
    total = np.array([float(each.total) for each in counts])
    params = total if losses.counts_embedding else np.array([float(each.matmul) for each in counts])
    # each at the length that serves it best: the longest may read the text far too often
    lengths_sg = np.geomspace(np.minimum(tokens, query.unique), tokens, NUM_LENGTHS, axis=1)
    repeated = text.law.log_cost(total[:, None], lengths_sg, query.unique)
    logs_sg = losses.log_loss(params[:, None], lengths_sg) + repeated
    logs, tokens = logs_sg.min(axis=1), lengths_sg[np.arange(len(models)), logs_sg.argmin(axis=1)]
    refused = [losses.refusal(size, seen) is not None for size, seen in zip(params, tokens, strict=True)]
    # tokens of a tenth of the parameters are beyond any law
    logs = np.where((tokens < 0.1 * params) | (np.array(refused) & (not all(refused))), np.inf, logs)
    sizes = [
        SizeGuess(model, count.total, float(seen), float(log))
        for model, count, seen, log in zip(models, counts, tokens, logs, strict=True)
    ]
    last = max((place for place, each in enumerate(sizes) if each.log_loss <= logs.min() + WINDOW), default=0)
    return (sizes[: last + 1] if math.isfinite(logs.min()) else sizes[:1]), float(logs.min())


def _candidates(kept: list[SizeGuess], least: float, machine: Machine) -> tuple[Candidate, ...]:
    """Return candidates of the sizes near the best; where few of those fit, of smaller ones until a few do."""
    found: list[Candidate] = []
    for each in reversed(kept):
        is_near = each.log_loss <= least + WINDOW or math.isinf(least)
        if is_near or len(found) < FEW_SIZES:
            candidate = machine.candidate(each.model, each.tokens)
            found = found if candidate is None else [candidate, *found]
    return tuple(found)


def _by_law(field: Field) -> list[SizeAndTokens]:
    """Return what each law of fresh text alone would have chosen for the least loss."""
    found = []
    for name, law in field.losses.members:
        alone = replace(field, losses=law)
        tokens = float(alone.best_tokens[alone.best])
        found.append(SizeAndTokens(name, field.candidates[alone.best].params, tokens))
    return found


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
