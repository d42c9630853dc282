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
MIN_SIZE_RATIO = 1.25
"A ratio of sizes from which two laws are said to disagree."
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

    def deviation(self, params: float, tokens: float, unique: float) -> float:
        """Return that of the log loss: half of the rise, by about which the penalty fitted on the same runs differs."""
        size, rest = np.array(params), law.E + law.B / tokens**law.EXPONENT
        worth, whole = (rest + law.A / each**law.EXPONENT for each in (self.worth(size, unique), size))
        beyond = np.log(worth / whole)
        return 0.5 * float(self.log_cost(size, np.array(tokens), unique) + beyond)


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

    def optimum(self, law: str) -> Optimum:
        place, tokens = self.least
        return Optimum(law, self.candidates[place].params, tokens, self.epochs(tokens))

    def epochs(self, tokens: float) -> float:
        return max(1.0, tokens / self.unique)


@dataclass(frozen=True)
class Optimum:
    """The size and tokens that one law alone would choose."""

    law: str
    params: int
    tokens: float
    epochs: float


@dataclass(frozen=True)
class Choice:
    """A run, why it is offered and what it takes: bands are P10, P50 and P90. `loss` is None where no law reaches.

    `repetition_cost` is the part of the log loss that reading text again costs.
    """

    kind: str
    reason: str
    candidate: Candidate
    tokens: float
    epochs: float
    repetition_cost: float
    loss: Band | None
    hours: Band
    usd: Band | None
    kwh: Band
    memory_gib: Band
    served_device_hours: float


@dataclass(frozen=True)
class BudgetPlan:
    """The choices, compute-optimal first and the recommended last; what each law alone would choose."""

    query: Query
    choices: tuple[Choice, ...]
    served: float
    losses_how: str
    by_law: tuple[Optimum, ...]
    by_repetition: tuple[Optimum, ...]
    notes: tuple[str, ...]
    num_sizes: int
    num_fitting: int
    name: str = "budget"
    loss_unit: str = ""

    def fields(self) -> dict[str, Any]:
        """Return what `headwater plan --budget --json` prints."""
        query, rates = self.query, self.query.rates
        hours = {"programme": query.final_hours / query.final_share, "final_run": query.final_hours}
        return {
            "name": self.name,
            "budget": {
                "text": query.budget.text,
                "num_devices": rates.num_devices,
                "device": rates.device,
                "usd_per_device_hour": rates.usd_per_hour and rates.usd_per_hour.median,
                "price_how": rates.price_how,
                "energy_how": rates.energy_how,
                "hours_how": rates.hours_how,
                "hours_backtest": rates.hours_backtest,
                "final_share": query.final_share,
                "final_share_how": query.share_how,
                **{name: {"hours": part, "usd": rates.usd(part)} for name, part in hours.items()},
            },
            "text": {"unique_tokens": None if math.isinf(query.unique) else query.unique, "how": query.text_how},
            "serving_tokens": self.served,
            "choices": [self._choice_fields(each) for each in self.choices],
            "loss": {"unit": self.loss_unit, "how": self.losses_how},
            "by_law": [asdict(each) for each in self.by_law],
            "by_law_of_repetition": [asdict(each) for each in self.by_repetition],
            "searched": {"sizes": self.num_sizes, "sizes_that_fit": self.num_fitting},
            "notes": list(self.notes),
        }

    def _choice_fields(self, choice: Choice) -> dict[str, Any]:
        each, tokens, rates = choice.candidate, choice.tokens, self.query.rates
        return {
            "kind": choice.kind,
            "reason": choice.reason,
            "recommended": choice is self.choices[-1],
            "params": each.params,
            "shape": each.model.model_dump(mode="json"),
            "settings": each.settings(tokens),
            "tokens": tokens,
            "epochs": choice.epochs,
            "repetition_costs": math.expm1(choice.repetition_cost),
            "tokens_per_parameter": tokens / each.params,
            "num_steps": round(tokens / each.batch_tokens),
            "loss": choice.loss and asdict(choice.loss),
            "hours": asdict(choice.hours),
            "money": choice.usd and asdict(choice.usd),
            "energy_kwh": asdict(choice.kwh),
            "kg_co2": {name: rates.kg_co2_per_kwh * kwh for name, kwh in asdict(choice.kwh).items()},
            "memory_gib": asdict(choice.memory_gib),
            "memory_limit_gib": each.memory_limit / 2**30,
            "layout": each.layout,
            "tokens_per_second": 1 / each.seconds_per_token,
            "serving_device_hours": choice.served_device_hours,
        }


def search(
    query: Query, candidates: Sequence[Candidate], losses: PublishedLaws | OwnRuns, num_sizes: int
) -> BudgetPlan:
    """Return the plan; raise ConfigError where no size can be trained."""
    is_own = isinstance(losses, OwnRuns)
    repetition = losses.strength if is_own else PublishedRepetition()
    field = Field(tuple(candidates), query.final_hours * 3600, query.unique, losses, repetition)
    if all(reason is not None for reason in field.refused):
        raise ConfigError(_nothing_trains(query, field))
    first = field.least
    served = first[1] if query.serve_tokens is None else query.serve_tokens
    choices = [_choice(query, field, COMPUTE, first, served)]
    cheap = _choice(query, field, INFERENCE, field.cheapest(served), served)
    costs = [each.hours.p50 * query.rates.num_devices + each.served_device_hours for each in (cheap, choices[0])]
    saved = 1 - costs[0] / costs[1]
    if saved > MIN_SAVING:
        choices.append(replace(cheap, reason=_why_cheaper(cheap, choices[0], saved, served)))
    by_law = [replace(field, losses=alone).optimum(name) for name, alone in losses.members]
    by_repetition = []
    if not is_own and choices[0].epochs > 1:
        # sizes by that law alone, then by the other penalty on all laws
        logs = np.log(repeated_loss(field.params[:, None], field.tokens_cg, field.unique))
        place, tokens = field._at(np.where(np.isinf(field.log_loss_cg), np.inf, logs))
        by_repetition = [
            Optimum(NAME, field.candidates[place].params, tokens, field.epochs(tokens)),
            replace(field, repetition=losses.strength).optimum(PENALTY_NAME),
        ]
    return BudgetPlan(
        query=query,
        choices=tuple(choices),
        served=served,
        losses_how=losses.how(float(field.sizes[first[0]]), first[1]),
        by_law=tuple(by_law),
        by_repetition=tuple(by_repetition),
        notes=(*_notes(query, field, choices), *_notes_of_repetition(field, choices, by_repetition)),
        num_sizes=num_sizes,
        num_fitting=len(candidates),
    )


def _choice(query: Query, field: Field, kind: str, found: tuple[int, float], served: float) -> Choice:
    place, tokens = found
    each, size, rates = field.candidates[place], float(field.sizes[place]), query.rates
    repeated = float(field.repetition.log_cost(np.array(float(each.params)), np.array(tokens), query.unique))
    if isinstance(field.losses, OwnRuns):
        loss: Any = field.losses.quantiles(size, tokens, unique_tokens=query.unique)
    else:
        sizes, one = np.array([size]), np.array([tokens])
        worth = field.repetition.worth(sizes, query.unique)
        beyond = float((field.losses.log_loss(worth, one) - field.losses.log_loss(sizes, one))[0])
        deviation = field.repetition.deviation(each.params, tokens, query.unique)
        loss = field.losses.quantiles(size, tokens, repeated + beyond, deviation)
    hours = Spread(float(each.seconds(tokens, query.unique)) / 3600, each.hours_deviation)
    kilowatts = rates.num_devices * rates.watts.median / 1000 * rates.pue
    price = rates.usd_per_hour
    return Choice(
        kind=kind,
        reason="the least expected loss for the budget"
        + (f", at {field.epochs(tokens):.1f} epochs: more text would bring more" if tokens > field.unique else ""),
        candidate=each,
        tokens=tokens,
        epochs=field.epochs(tokens),
        repetition_cost=repeated,
        loss=loss and Band(*loss),
        hours=_band(hours),
        usd=None if price is None else _band(hours, rates.num_devices * price.median, price.log_deviation),
        kwh=_band(hours, kilowatts, rates.watts.log_deviation),
        memory_gib=_band(Spread(each.memory_bytes / 2**30, each.memory_deviation)),
        served_device_hours=served * SERVED_COST * each.seconds_per_token / 3600 * rates.num_devices,
    )


def _band(spread: Spread, factor: float = 1.0, deviation: float = 0.0) -> Band:
    """Return the band of a quantity times another that is independent of it."""
    return Band(**Spread(spread.median * factor, math.hypot(spread.log_deviation, deviation)).band())


def _why_cheaper(cheap: Choice, first: Choice, saved: float, served: float) -> str:
    smaller, longer = first.candidate.params / cheap.candidate.params, cheap.tokens / first.tokens
    what = f"{smaller:.1f} times smaller, " if smaller > 1.02 else ""
    return (
        f"{what}{longer:.2f} times the tokens: loss within {SLACK:.0%} of the least, and {saved:.0%} less for training "
        f"and for serving {count(served)} tokens together"
    )


def _notes(query: Query, field: Field, choices: Sequence[Choice]) -> list[str]:
    """Return what a reader of the choices must know besides."""
    found, first = [], choices[0]
    if first.tokens < query.unique < math.inf:
        found.append(f"the compute-optimal run reads {first.tokens / query.unique:.1%} of the text")
    unspent = 1 - first.hours.p50 / query.final_hours
    if unspent > 0.1:
        found.append(f"{unspent:.0%} of the final run's time is unspent: more text would use it, more epochs don't")
    if refused := _refusals(field):
        found.append(f"{len(refused)} sizes are excluded: the table can't carry their loss: {refused[0]}")
    if query.rates.usd_per_hour is None:
        found.append(query.rates.price_how)
    if first.candidate is field.candidates[-1]:
        found.append("no larger model fits: with more memory one might be better")
    return found


def _notes_of_repetition(field: Field, choices: Sequence[Choice], laws: Sequence[Optimum]) -> list[str]:
    """Return where laws of repeated text disagree on the size, and where they leave what was measured."""
    first, own, found = choices[0], choices[0].candidate.params, []
    epochs = max(each.epochs for each in choices)
    if epochs > 1 and isinstance(field.repetition, PublishedRepetition):
        found.append(f"text read again is counted by {NAME}, and what it costs is taken to be uncertain by half of it")
    others = [each for each in laws if max(own / each.params, each.params / own) > MIN_SIZE_RATIO]
    if others:
        sizes = "; ".join(f"{each.law} {count(each.params)} × {each.epochs:.1f}" for each in others)
        found.append(
            "laws of repeated text disagree on the size (parameters × epochs): chosen is "
            f"{count(own)} × {first.epochs:.1f}, by {sizes}. Nobody has measured which is right at this size"
        )
    density = max(each.candidate.params for each in choices) / field.unique
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
    cap, smallest = MAX_EPOCHS * query.unique, field.candidates[0]
    if cap < MIN_STEPS * smallest.batch_tokens:
        return (
            f"the text is too small: read {MAX_EPOCHS:g} times it gives {cap:,.0f} tokens, less than {MIN_STEPS} steps "
            f"of {smallest.batch_tokens:,}; give more text or a smaller model.seq_len"
        )
    needs = float(smallest.seconds(MIN_STEPS * smallest.batch_tokens, query.unique)) / 3600
    return (
        f"the budget {query.budget.text} is {query.final_hours:.3g} h of the final run on {query.rates.num_devices} × "
        f"{query.rates.device}; {MIN_STEPS} steps of the smallest model take {needs:.3g} h: raise the budget"
    )
