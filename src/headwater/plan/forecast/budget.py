"""The run of the least loss that a budget buys: sizes × tokens, scored by a loss model, on one machine. No torch.

c candidates · g grid of tokens
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from headwater.core.errors import ConfigError
from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.plan.forecast.result import Band, DeviceGroup, Spread
from headwater.plan.scaling.published import OwnRuns, PublishedLaw
from headwater.plan.scaling.repetition import NAME, PUBLISHED
from headwater.plan.scaling.table import MAX_EPOCHS, MIN_RUN_STEPS
from headwater.runfile.given import Given
from headwater.runfile.rules import by_rules

MAX_HOURS = 87_660
"Ten years: beyond it a plan is arithmetic. Machines are replaced sooner, and published runs took months."
DIAL = (*range(2, 17), *range(18, 33, 2), *range(36, 65, 4), 72, 80, 88, 96)
"Numbers of layers to choose among: up to 44 billion parameters, more than any one device of the table holds."
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
        if hours > MAX_HOURS:
            raise ConfigError(
                f"the budget {self.text} is {hours:,.0f} h on {devices.num_devices} × {devices.device}: take more "
                f"hardware or a smaller budget, of at most {MAX_HOURS:,} h"
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
    shape = Given({"model": given})
    return ModelSettings.model_validate(shape.with_decided(by_rules(shape)).get("model"))


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
    """The choice; what each law of repeated text would choose; why a table of runs refused sizes.

    `largest` says whether the choice is the largest of the sizes that fit, or of all that are searched.
    """

    query: Query
    choice: BudgetChoice
    loss_unit: str
    losses_how: str
    by_repetition: tuple[SizeByLaw, ...]
    refusals: tuple[str, ...]
    largest: Literal["fitting", "searched"] | None
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
    loss = losses.expected(*sizes, tokens, query.unique)
    choice = BudgetChoice(
        params=each.params,
        shape=each.model,
        settings=each.settings | {"train.num_steps": num_steps},
        tokens=tokens,
        epochs=possible.epochs(tokens),
        repetition_costs=math.expm1(float(rise)),
        tokens_per_parameter=tokens / each.params,
        num_steps=num_steps,
        loss=loss and Spread(*loss).band(),
        **devices.bands(Spread(each.seconds(tokens) / 3600, each.hours_deviation)),
        memory_gb=each.memory.scaled(1e-9).band(),
        memory_limit_gb=devices.memory_limit / 1e9,
        layout=each.layout,
        num_microbatches=each.num_microbatches,
        tokens_per_second=1 / each.seconds_per_token,
    )
    largest: Literal["fitting", "searched"] | None = "fitting" if place == len(candidates) - 1 else None
    if largest and each.model == models[-1]:
        largest = "searched"
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
        refusals=tuple(possible.refusals),
        largest=largest,
        num_sizes=len(models),
        num_fitting=len(candidates),
    )


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
