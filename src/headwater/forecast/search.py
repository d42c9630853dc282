"""A budget as a choice of runs: sizes × tokens, scored by a loss model, on one machine. No torch.

compute-optimal: the least loss that the budget buys. inference-aware (after arXiv:2401.00448): training and serving
together at the least cost, at a loss within SLACK of it: smaller and trained longer, or shorter where text is short.

c candidates · g grid of tokens
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from headwater.errors import ConfigError
from headwater.forecast.budget import Query
from headwater.forecast.candidate import Candidate
from headwater.forecast.result import Band, Spread
from headwater.model.count import count_parameters
from headwater.numbers import count
from headwater.scaling import repetition as law
from headwater.scaling.published import OwnRuns, PublishedLaws
from headwater.scaling.repetition import MEASURED_EPOCHS, MEASURED_RATIO, NAME, Strength, repeated_loss, worth_params
from headwater.scaling.table import MAX_EPOCHS, FloatArray

SLACK = 0.01
"Of loss: about what halving a compute-optimal model costs, and less than forecasts are sure of."
SERVED_COST = 4 / 3
"Of a trained token's: the forward pass alone (2 N of 6 N), at a quarter of training's FLOP/s; the latter is assumed."
MIN_STEPS = 60
"Fewer updates are mostly warm-up and decay."
TOO_SHORT = "too few steps"
MIN_SAVING = 0.1
"Of training and serving: a choice that saves less isn't one."
NUM_GRID = 512
COMPUTE, INFERENCE = "compute-optimal", "inference-aware"
PENALTY_NAME = "the penalty of headwater's runs"


class PublishedRepetition:
    """arXiv:2305.16264: what parameters beyond those that a text carries are worth, and tokens read again cost.

    Whoever forecasts loss takes it of the parameters' worth, below one epoch too, and adds the cost.
    """

    def worth(self, params: FloatArray, unique: float) -> FloatArray:
        """Return how many parameters each model is worth."""
        return worth_params(params, unique)

    def log_cost(self, params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
        """Return by how much the log loss rises over that of as many fresh tokens, by the same law."""
        worth = worth_params(params, np.minimum(tokens, unique))
        once = law.E + law.A / worth**law.EXPONENT + law.B / tokens**law.EXPONENT
        return np.asarray(np.log(repeated_loss(params, tokens, unique) / once))


@dataclass(frozen=True)
class Field:
    """All candidates under one budget of seconds. `unique` is the text's tokens, infinite where it is no limit."""

    candidates: tuple[Candidate, ...]
    seconds: float
    unique: float
    losses: PublishedLaws | OwnRuns
    repetition: PublishedRepetition | Strength

    @cached_property
    def params(self) -> FloatArray:
        return np.array([float(each.params) for each in self.candidates])

    @cached_property
    def sizes(self) -> FloatArray:
        """Parameters as the laws count them."""
        if self.losses.counts_embedding:
            return self.params
        return np.array([float(count_parameters(each.model).matmul) for each in self.candidates])

    @cached_property
    def most_steps(self) -> FloatArray:
        """Whole steps that each may train: by the budget, and the text read sixteen times."""
        tokens = [min(each.tokens(self.seconds, self.unique), MAX_EPOCHS * self.unique) for each in self.candidates]
        return np.floor(np.array(tokens) / [each.batch_tokens for each in self.candidates])

    @cached_property
    def tokens_cg(self) -> FloatArray:
        """Tokens of whole steps, from the fewest to the most."""
        steps_cg = np.geomspace(MIN_STEPS, np.maximum(self.most_steps, MIN_STEPS), NUM_GRID, axis=1)
        return np.round(steps_cg) * np.array([[float(each.batch_tokens)] for each in self.candidates])

    @cached_property
    def _any_log_loss_cg(self) -> FloatArray:
        worth = self.repetition.worth(self.sizes, self.unique)[:, None]
        fresh = self.losses.log_loss(np.broadcast_to(worth, self.tokens_cg.shape), self.tokens_cg)
        return fresh + self.repetition.log_cost(self.params[:, None], self.tokens_cg, self.unique)

    @cached_property
    def refused(self) -> list[str | None]:
        """Why each can't be chosen: too few steps, or a loss that the table of runs can't carry."""
        best = self.tokens_cg[np.arange(len(self.candidates)), self._any_log_loss_cg.argmin(axis=1)]
        return [
            TOO_SHORT if steps < MIN_STEPS else self.losses.refusal(float(size), float(tokens))
            for steps, size, tokens in zip(self.most_steps, self.sizes, best, strict=True)
        ]

    @cached_property
    def log_loss_cg(self) -> FloatArray:
        """Log loss along the grid, with what repetition costs; infinite for who is refused."""
        return np.where(np.array([[each is not None] for each in self.refused]), np.inf, self._any_log_loss_cg)

    @cached_property
    def least(self) -> tuple[int, float]:
        """The place of the candidate of the least loss, and its tokens."""
        return self._at(self.log_loss_cg)

    def cheapest(self, served: float) -> tuple[int, float]:
        """Return what costs least to train and to serve, at a loss within SLACK of the least."""
        is_near = self.log_loss_cg <= self.log_loss_cg.min() + math.log1p(SLACK)
        return self._at(np.where(is_near, self.cost_cg(served), np.inf))

    def cost_cg(self, served: float) -> FloatArray:
        """Return the seconds of training, and of the same devices for `served` tokens."""
        serving = [served * SERVED_COST * each.seconds_per_token for each in self.candidates]
        training = [each.seconds(row, self.unique) for each, row in zip(self.candidates, self.tokens_cg, strict=True)]
        return np.array(training) + np.array(serving)[:, None]

    def _at(self, scores_cg: FloatArray) -> tuple[int, float]:
        place, column = np.unravel_index(int(scores_cg.argmin()), scores_cg.shape)
        return int(place), float(self.tokens_cg[place, column])

    def optimum(self, law: str) -> dict[str, Any]:
        """Return the size and tokens of the least loss, and the law that says so."""
        place, tokens = self.least
        return {
            "law": law,
            "params": self.candidates[place].params,
            "tokens": tokens,
            "epochs": max(1.0, tokens / self.unique),
        }


def search(
    query: Query, candidates: Sequence[Candidate], losses: PublishedLaws | OwnRuns, loss_unit: str
) -> dict[str, Any]:
    """Return what `plan --budget --json` prints of it; raise ConfigError where no size can be trained.

    Of its choices the compute-optimal comes first and the recommended last. Bands are P10, P50 and P90.
    """
    is_own = isinstance(losses, OwnRuns)
    repetition = losses.strength if is_own else PublishedRepetition()
    field = Field(tuple(candidates), query.final_hours * 3600, query.unique, losses, repetition)
    if all(reason is not None for reason in field.refused):
        raise ConfigError(_nothing_trains(query, field))
    served = field.least[1] if query.serve_tokens is None else query.serve_tokens
    first, cheap = (_choice(query, field, found, served) for found in (field.least, field.cheapest(served)))
    costs = [each["hours"]["p50"] * query.rates.num_devices + each["serving_device_hours"] for each in (cheap, first)]
    saved = 1 - costs[0] / costs[1]
    choices = [first]
    if saved > MIN_SAVING:
        reason = (
            f"{cheap['params'] / first['params']:.2f} times the parameters, {cheap['tokens'] / first['tokens']:.2f} "
            f"times the tokens: loss within {SLACK:.0%} of the least, and {saved:.0%} less for training and serving "
            f"{count(served)} tokens together"
        )
        choices.append(cheap | {"kind": INFERENCE, "reason": reason})
    by_repetition = []
    if not is_own and max(each["epochs"] for each in choices) > 1:
        other = replace(field, repetition=losses.strength)
        by_repetition = [field.optimum(NAME), other.optimum(PENALTY_NAME)]
    return {
        "budget": query.fields(),
        "text": {"unique_tokens": None if math.isinf(query.unique) else query.unique, "how": query.text_how},
        "serving_tokens": served,
        "choices": [each | {"recommended": each is choices[-1]} for each in choices],
        "loss": {"unit": loss_unit, "how": losses.how(float(field.sizes[field.least[0]]), field.least[1])},
        "by_law": [replace(field, losses=alone).optimum(name) for name, alone in losses.members],
        "by_law_of_repetition": by_repetition,
        "notes": _notes(query, field, choices, by_repetition),
    }


def _choice(query: Query, field: Field, found: tuple[int, float], served: float) -> dict[str, Any]:
    """Return a run and what it takes; its loss is None where no law reaches."""
    place, tokens = found
    each, size, rates = field.candidates[place], float(field.sizes[place]), query.rates
    epochs = max(1.0, tokens / query.unique)
    repeated = float(field.repetition.log_cost(np.array(float(each.params)), np.array(tokens), query.unique))
    if isinstance(field.losses, OwnRuns):
        loss: Any = field.losses.quantiles(size, tokens, unique_tokens=query.unique)
    else:
        sizes, one = np.array([size]), np.array([tokens])
        worth = field.repetition.worth(sizes, query.unique)
        rise = repeated + float((field.losses.log_loss(worth, one) - field.losses.log_loss(sizes, one))[0])
        # by about half of the rise the penalty fitted on the same runs differs
        loss = field.losses.quantiles(size, tokens, rise, 0.5 * rise)
    hours = Spread(float(each.seconds(tokens, query.unique)) / 3600, each.hours_deviation)
    kwh = hours.times(rates.watts, rates.num_devices / 1000 * rates.pue).band()
    price = rates.usd_per_hour
    return {
        "kind": COMPUTE,
        "reason": "the least expected loss for the budget"
        + (f", at {epochs:.1f} epochs: more text would bring more" if epochs > 1 else ""),
        "params": each.params,
        "shape": each.model.model_dump(mode="json"),
        "settings": each.settings(tokens),
        "tokens": tokens,
        "epochs": epochs,
        "repetition_costs": math.expm1(repeated),
        "tokens_per_parameter": tokens / each.params,
        "num_steps": round(tokens / each.batch_tokens),
        "loss": loss and asdict(Band(*loss)),
        "hours": hours.band(),
        "money": None if price is None else hours.times(price, rates.num_devices).band(),
        "energy_kwh": kwh,
        "kg_co2": {name: rates.kg_co2_per_kwh * value for name, value in kwh.items()},
        "memory_gib": Spread(each.memory_bytes / 2**30, each.memory_deviation).band(),
        "memory_limit_gib": each.memory_limit / 2**30,
        "layout": each.layout,
        "tokens_per_second": 1 / each.seconds_per_token,
        "serving_device_hours": served * SERVED_COST * each.seconds_per_token / 3600 * rates.num_devices,
    }


def _notes(
    query: Query, field: Field, choices: Sequence[dict[str, Any]], by_repetition: Sequence[dict[str, Any]]
) -> list[str]:
    """Return what a reader of the choices must know besides."""
    found = []
    if refused := _refusals(field):
        found.append(f"{len(refused)} sizes are excluded: the table can't carry their loss: {refused[0]}")
    if field.least[0] == len(field.candidates) - 1:
        found.append("no larger model fits: with more memory one might be better")
    if by_repetition:
        found.append(f"text read again is counted by {NAME}, and what it costs is taken to be uncertain by half of it")
        if len({each["params"] for each in by_repetition}) > 1:
            found.append("laws of repeated text disagree on the size, and nobody has measured which is right there")
    epochs, density = max(each["epochs"] for each in choices), max(each["params"] for each in choices) / query.unique
    if epochs > 1 and (density > MEASURED_RATIO or epochs > MEASURED_EPOCHS):
        found.append(
            f"the cost of repetition was measured up to {MEASURED_RATIO:g} parameters a unique token and "
            f"{MEASURED_EPOCHS:g} epochs, and is extrapolated here: up to {density:.2g} and {epochs:.1f}"
        )
    return found


def _refusals(field: Field) -> list[str]:
    return [reason for reason in field.refused if reason not in (None, TOO_SHORT)]


def _nothing_trains(query: Query, field: Field) -> str:
    if refusals := _refusals(field):
        return (
            f"the table of runs (--runs, or the ladder of RUN) can't carry a forecast for any size of this budget: "
            f"{refusals[0]}; or drop --runs and RUN to use published laws"
        )
    smallest = field.candidates[0]
    least = MIN_STEPS * smallest.batch_tokens
    if MAX_EPOCHS * query.unique < least:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives less than {MIN_STEPS} steps of "
            f"{smallest.batch_tokens:,} tokens; give more text or a smaller model.seq_len"
        )
    return (
        f"the budget {query.budget.text} is {query.final_hours:.3g} h of the final run, and {MIN_STEPS} steps of the "
        f"smallest model take {float(smallest.seconds(least, query.unique)) / 3600:.3g} h: raise the budget"
    )
