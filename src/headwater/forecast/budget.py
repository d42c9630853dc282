"""The run of the least loss that a budget buys: sizes × tokens, scored by a loss model, on one machine. No torch.

c candidates · g grid of tokens
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from headwater.config import RawSettings
from headwater.errors import ConfigError
from headwater.forecast.result import Band, DeviceGroup, Spread
from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.numbers import count
from headwater.optim.rules import apply_rules_
from headwater.scaling.published import OwnRuns, PublishedLaw
from headwater.scaling.repetition import MEASURED_EPOCHS, MEASURED_RATIO, NAME, PUBLISHED, says_of
from headwater.scaling.table import MAX_EPOCHS, MIN_RUN_STEPS

MAX_YEARS, HOURS_PER_YEAR = 10, 8766.0
"Beyond it a plan is arithmetic and no advice: machines are replaced sooner, and published runs took months."
DIAL = (*range(2, 17), *range(18, 33, 2), *range(36, 65, 4), 72, 80, 88, 96)
"Numbers of layers to choose among: up to 44 billion parameters, more than any one device of the table holds."
SLACK = 0.01  # of loss: about what halving a compute-optimal model costs, and less than forecasts are sure of
TOO_SHORT = "too few steps"
NUM_GRID = 512
PENALTY_NAME = "the penalty of headwater's runs"


@dataclass(frozen=True)
class Budget:
    """What may be spent: US dollars or hours, the other None. `text` is how it was written."""

    text: str
    usd: float | None = None
    hours: float | None = None

    def hours_on(self, devices: DeviceGroup) -> float:
        """Return how long it lasts on these devices; raise ConfigError where that isn't known, or longer than plans."""
        price = devices.usd(1.0)
        if self.hours is None and price is None:
            raise ConfigError(f"a budget of money needs a price: {devices.price_how}")
        hours = self.hours or (self.usd or 0.0) / (price or math.inf)
        if (years := hours / HOURS_PER_YEAR) > MAX_YEARS:
            most = MAX_YEARS * HOURS_PER_YEAR
            amount = f"{most:,.0f}h" if self.usd is None else f"${devices.usd(most):,.0f}"
            raise ConfigError(
                f"the budget {self.text} is {years:,.3g} years on {devices.num_devices} × {devices.device}, and no run "
                f"is planned for more than {MAX_YEARS} years: take more hardware, or a budget of at most {amount}"
            )
        return hours


@dataclass(frozen=True)
class Query:
    """Hours of a budget for one run on these devices, and its text of `unique` tokens (infinite: no limit)."""

    name: str
    budget: Budget
    hours: float
    devices: DeviceGroup
    unique: float
    text_how: str


@dataclass(frozen=True)
class Candidate:
    """One size and how it would be trained; `settings` are those of its run file, but for the number of steps.

    `seconds_per_token` is of all ranks, `around_seconds` come once. Memory is in bytes of one device; `hours_deviation`
    is of the logarithm. `waiting` is what ranks of a pipeline wait for one another over that time, which leaves it out.
    """

    model: ModelSettings
    batch_tokens: int
    seconds_per_token: float
    memory: Spread
    hours_deviation: float
    around_seconds: float = 0.0
    waiting: float = 0.0
    layout: str = ""
    num_microbatches: int = 1
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def params(self) -> int:
        return count_parameters(self.model).total

    def seconds(self, tokens: float) -> float:
        """Return the time of a run of `tokens`."""
        return self.around_seconds + self.seconds_per_token * tokens

    def tokens(self, seconds: float) -> float:
        """Return how many tokens a time allows, zero where it is over before the first."""
        return max(0.0, (seconds - self.around_seconds) / self.seconds_per_token)


def model_of(num_layers: int, family: Family, vocab_size: int, seq_len: int) -> ModelSettings:
    """Return the shape that the rules give where nothing but its number of layers is set."""
    given = {"num_layers": num_layers, "family": family, "vocab_size": vocab_size, "seq_len": seq_len}
    raw = RawSettings({"model": dict(given)}, {})
    apply_rules_(raw)
    return ModelSettings.model_validate(raw.get("model"))


def sizes(family: Family, vocab_size: int, seq_len: int) -> Iterator[ModelSettings]:
    """Yield every size, smallest first."""
    for num_layers in DIAL:
        yield model_of(num_layers, family, vocab_size, seq_len)


class Field:
    """All candidates under one budget of seconds. `unique` is the text's tokens, infinite where it is no limit.

    sizes        parameters as the law counts them; `params` are all
    tokens_cg    of whole steps: from the fewest to the most, by the budget and the text as often as helps or makes
                 MIN_RUN_STEPS
    refused      why each can't be chosen: too few steps, or a loss that the table of runs can't carry
    log_loss_cg  along the grid, with what repetition costs; infinite for who is refused
    least        the place of the candidate of the least loss, and its tokens
    """

    def __init__(
        self, candidates: Sequence[Candidate], seconds: float, unique: float, losses: PublishedLaw | OwnRuns
    ) -> None:
        self.candidates, self.seconds, self.unique, self.losses = candidates, seconds, unique, losses
        self.params = np.array([float(each.params) for each in candidates])
        multiplied = np.array([float(count_parameters(each.model).matmul) for each in candidates])
        self.sizes = self.params if losses.counts_embedding else multiplied
        batch = np.array([float(each.batch_tokens) for each in candidates])
        useful = [losses.most_epochs(params, unique) * unique for params in self.params]
        most = np.minimum(np.maximum(useful, MIN_RUN_STEPS * batch), MAX_EPOCHS * unique)
        most_steps = np.floor(np.minimum([each.tokens(seconds) for each in candidates], most) / batch)
        steps_cg = np.geomspace(MIN_RUN_STEPS, np.maximum(most_steps, MIN_RUN_STEPS), NUM_GRID, axis=1)
        self.tokens_cg = np.round(steps_cg) * batch[:, None]
        logs_cg = losses.log_loss(self.sizes[:, None], self.params[:, None], self.tokens_cg, unique)
        best = self.tokens_cg[np.arange(len(candidates)), logs_cg.argmin(axis=1)]
        self.refused = [
            TOO_SHORT if steps < MIN_RUN_STEPS else losses.refusal(float(size), float(tokens))
            for steps, size, tokens in zip(most_steps, self.sizes, best, strict=True)
        ]
        self.refusals = [reason for reason in self.refused if reason not in (None, TOO_SHORT)]
        self.log_loss_cg = np.where([[each is not None] for each in self.refused], np.inf, logs_cg)
        place, column = np.unravel_index(int(self.log_loss_cg.argmin()), self.log_loss_cg.shape)
        self.least = int(place), float(self.tokens_cg[place, column])

    @property
    def smallest_near(self) -> Candidate:
        """The smallest of which a run's loss is within SLACK of the least."""
        is_near = self.log_loss_cg.min(axis=1) <= self.log_loss_cg.min() + math.log1p(SLACK)
        return self.candidates[int(is_near.argmax())]

    def optimum(self, law: str) -> SizeByLaw:
        place, tokens = self.least
        return SizeByLaw(law, self.candidates[place].params, tokens, self.epochs(tokens))

    def epochs(self, tokens: float) -> float:
        return max(1.0, tokens / self.unique)


@dataclass(frozen=True)
class SizeByLaw:
    """The size and tokens that one law of repeated text would choose."""

    law: str
    params: int
    tokens: float
    epochs: float


@dataclass(frozen=True)
class BudgetChoice:
    """The run of the least expected loss and what it takes, as `plan --budget --json` prints it.

    `repetition_costs` is by which part a text too short for the run raises the loss. The loss is None where no law
    reaches, the money where no price is known. Memory is of one device.
    """

    params: int
    shape: ModelSettings
    settings: dict[str, Any]
    tokens: float
    epochs: float
    repetition_costs: float
    tokens_per_parameter: float
    num_steps: int
    loss: Band | None
    hours: Band
    money: Band | None
    energy_kwh: Band
    kg_co2: Band
    memory_gb: Band
    memory_limit_gb: float
    layout: str
    num_microbatches: int
    tokens_per_second: float


@dataclass(frozen=True)
class BudgetPlan:
    """The choice; what each law of repeated text would choose."""

    query: Query
    choice: BudgetChoice
    loss_unit: str
    losses_how: str
    by_repetition: tuple[SizeByLaw, ...]
    notes: tuple[str, ...]
    num_sizes: int
    num_fitting: int


def search(
    query: Query,
    candidates: Sequence[Candidate],
    losses: PublishedLaw | OwnRuns,
    loss_unit: str,
    models: Sequence[ModelSettings],
) -> BudgetPlan:
    """Return the plan for those of `models` that fit; raise ConfigError where none of them can be trained."""
    possible = Field(candidates, 3600 * query.hours, query.unique, losses)
    if all(possible.refused):
        raise ConfigError(_nothing_trains(query, possible))
    (place, tokens), devices = possible.least, query.devices
    each, num_steps = candidates[place], round(tokens / candidates[place].batch_tokens)
    sizes = possible.sizes[place], possible.params[place]
    rise = losses.log_loss(*sizes, np.array(tokens), query.unique) - losses.log_loss(*sizes, np.array(tokens))
    loss = losses.quantiles(*sizes, tokens, query.unique)
    choice = BudgetChoice(
        params=each.params,
        shape=each.model,
        settings=each.settings | {"train.num_steps": num_steps},
        tokens=tokens,
        epochs=possible.epochs(tokens),
        repetition_costs=math.expm1(float(rise)),
        tokens_per_parameter=tokens / each.params,
        num_steps=num_steps,
        loss=loss and Band(*loss),
        **devices.bands(Spread(each.seconds(tokens) / 3600, each.hours_deviation)),
        memory_gb=each.memory.scaled(1e-9).band(),
        memory_limit_gb=devices.memory_limit / 1e9,
        layout=each.layout,
        num_microbatches=each.num_microbatches,
        tokens_per_second=1 / each.seconds_per_token,
    )
    by_repetition = []
    if isinstance(losses, PublishedLaw) and choice.epochs > 1:
        other = Field(candidates, possible.seconds, query.unique, replace(losses, penalty=PUBLISHED))
        by_repetition = [possible.optimum(NAME), other.optimum(PENALTY_NAME)]
    return BudgetPlan(
        query=query,
        choice=choice,
        loss_unit=loss_unit,
        losses_how=losses.how(float(possible.sizes[place]), tokens),
        by_repetition=tuple(by_repetition),
        notes=tuple(_notes(possible, choice, by_repetition, is_last=candidates[-1].model == models[-1])),
        num_sizes=len(models),
        num_fitting=len(candidates),
    )


def _notes(possible: Field, choice: BudgetChoice, by_repetition: Sequence[SizeByLaw], is_last: bool) -> list[str]:
    """Return what a reader of the choice must know besides; `is_last` says that the largest of all sizes fits."""
    found, near = [], possible.smallest_near
    if near.params < choice.params:
        says = f"{count(near.params)} parameters would lose less than {SLACK:.0%}, and are cheaper to serve"
        found.append(f"forecasts are not sure of {SLACK:.0%} of the loss: {says}")
    if choice.epochs > 1:
        found.append(f"{choice.epochs:.1f} epochs of the text: more text would bring more")
    if possible.refusals:
        found.append(
            f"{len(possible.refusals)} sizes are excluded: the table can't carry their loss: {possible.refusals[0]}"
        )
    if possible.least[0] == len(possible.candidates) - 1:
        larger = "no larger model is searched: one" if is_last else "no larger model fits: with more memory one"
        found.append(f"{larger} might be better")
    if by_repetition:
        useful = possible.losses.most_epochs(choice.params, possible.unique)
        found.append(f"text read again is counted by {NAME}, its cost uncertain by half: {says_of(useful)}")
        if len({each.params for each in by_repetition}) > 1:
            found.append("laws of repeated text disagree on the size, and nobody has measured which is right there")
    epochs, density = choice.epochs, choice.params / possible.unique
    if epochs > 1 and (density > MEASURED_RATIO or epochs > MEASURED_EPOCHS):
        found.append(
            f"the cost of repetition was measured up to {MEASURED_RATIO:g} parameters a unique token and "
            f"{MEASURED_EPOCHS:g} epochs, and is extrapolated here: up to {density:.2g} and {epochs:.1f}"
        )
    return found


def _nothing_trains(query: Query, possible: Field) -> str:
    if possible.refusals:
        return (
            "the table of runs (--runs, or the ladder of RUN) can't carry a forecast for any size of this budget: "
            f"{possible.refusals[0]}; or drop --runs and RUN to use published laws"
        )
    smallest = possible.candidates[0]
    least = MIN_RUN_STEPS * smallest.batch_tokens
    if MAX_EPOCHS * query.unique < least:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives {MAX_EPOCHS * query.unique:,.0f} tokens, less "
            f"than {MIN_RUN_STEPS} steps of {smallest.batch_tokens:,}; give more text or a smaller model.seq_len"
        )
    needs = smallest.seconds(least) / 3600
    return (
        f"the budget {query.budget.text} is {query.hours:.3g} h on {query.devices.num_devices} × "
        f"{query.devices.device}; {MIN_RUN_STEPS} steps of the smallest model take {needs:.3g} h: raise the budget"
    )
