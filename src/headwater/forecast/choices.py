"""Which of many sizes to train, for how long: compute-optimal, inference-aware, data-limited. No torch.

compute-optimal: the least loss that the budget buys. inference-aware (after arXiv:2401.00448): training and serving
together at the least cost, at a loss within SLACK of it: a smaller model that is trained longer. data-limited: where
the text is read more than once, the shortest run within SLACK, since more computing on the same text brings
little; where it isn't, the largest model that reads all of it. None is dominated in time, loss and cost of serving.

c candidates · g grid of tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from headwater.forecast.candidate import Candidate
from headwater.scaling.arrays import FloatArray
from headwater.scaling.repetition import Strength
from headwater.scaling.table import MAX_EPOCHS

SLACK = 0.01
"Of loss: about what halving a compute-optimal model costs, and less than forecasts are sure of."
SERVED_FLOPS = 1 / 3
"Of a trained token's: the forward pass alone (2 N of 6 N)."
SERVED_RATE = 0.25
"Of the FLOP/s of training that serving reaches; assumed: prompts run as fast, but answers a token at a time."
MIN_STEPS = 20
TOO_SHORT = "too few steps"
MIN_SAVING = 0.1
"Of time or of serving's cost: a choice that saves less isn't one."
NUM_GRID = 128
Quantiles = tuple[float, float, float]
COMPUTE, INFERENCE, DATA = "compute-optimal", "inference-aware", "data-limited"


class Losses(Protocol):
    """What tells sizes apart: published laws, or the user's runs."""

    @property
    def counts_embedding(self) -> bool: ...

    @property
    def strength(self) -> Strength:
        """What repetition costs; the losses below are of text that is read once."""
        ...

    @property
    def epochs(self) -> float:
        """How often the runs behind the losses read their text, at most."""
        ...

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray: ...

    def refusal(self, params: float, tokens: float) -> str | None: ...


class LossModel(Losses, Protocol):
    """Published laws or own runs."""

    @property
    def unit(self) -> str: ...

    @property
    def members(self) -> Sequence[tuple[str, LossModel]]: ...

    def quantiles(
        self, params: float, tokens: float, log_factor: float = 0.0, deviation: float = 0.0
    ) -> Quantiles | None: ...

    def how(self, params: float, tokens: float) -> str: ...


@dataclass(frozen=True)
class Choice:
    """A candidate, its tokens, the names it goes by and one sentence for each."""

    candidate: Candidate
    tokens: float
    kinds: tuple[str, ...]
    reasons: tuple[str, ...]
    cost: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))
    "Seconds, log loss, seconds to serve a token: what dominance is judged by."


@dataclass(frozen=True)
class Field:
    """All candidates under one budget. `unique` is the text's tokens, infinite where it is no limit."""

    candidates: tuple[Candidate, ...]
    seconds: float
    unique: float
    losses: Losses

    def size(self, candidate: Candidate) -> float:
        """Return the parameters as the laws count them."""
        return float(candidate.params if self.losses.counts_embedding else candidate.multiplied)

    @cached_property
    def most_tokens(self) -> FloatArray:
        """Whole steps of tokens that each may train on: by the budget, and the text read sixteen times."""
        cap = MAX_EPOCHS * self.unique
        return np.array([_whole_steps(c, min(cap, c.tokens(self.seconds, self.unique))) for c in self.candidates])

    @cached_property
    def refused(self) -> list[str | None]:
        """Why each can't be chosen: too few steps, or a loss that the table of runs can't carry."""
        return [
            TOO_SHORT if most < MIN_STEPS * each.batch_tokens else self.losses.refusal(self.size(each), float(tokens))
            for each, most, tokens in zip(self.candidates, self.most_tokens, self.best_tokens, strict=True)
        ]

    @cached_property
    def grid_cg(self) -> FloatArray:
        """Tokens from 20 steps to the most, for each candidate."""
        least = np.array([MIN_STEPS * each.batch_tokens for each in self.candidates], dtype=np.float64)
        most = np.maximum(self.most_tokens, least)
        return np.asarray(np.exp(np.linspace(np.log(least), np.log(most), NUM_GRID, axis=1)))

    @cached_property
    def _own_log_loss_cg(self) -> FloatArray:
        """Log loss along the grid, penalties included: it rises again where a text is read too often."""
        params = np.array([[self.size(each)] for each in self.candidates])
        penalty = np.array([[each.log_penalty] for each in self.candidates])
        total = np.array([[float(each.params)] for each in self.candidates])
        repeated = self.losses.strength.log_cost(total, self.grid_cg, self.unique)
        return np.asarray(self.losses.log_loss(params, self.grid_cg) + penalty + repeated)

    @cached_property
    def best_tokens(self) -> FloatArray:
        """Tokens at which each has its least loss: all that it may train on, but where the text is read too often."""
        least = self.grid_cg[np.arange(len(self.candidates)), self._own_log_loss_cg.argmin(axis=1)]
        wholes = [_whole_steps(each, float(tokens)) for each, tokens in zip(self.candidates, least, strict=True)]
        is_repeated = least > self.unique
        return np.where(is_repeated & (least < self.grid_cg[:, -1]), np.array(wholes), self.most_tokens)

    @cached_property
    def log_loss_cg(self) -> FloatArray:
        """Log loss along the grid, penalties included, never rising; infinite for who is refused."""
        logs = np.minimum.accumulate(self._own_log_loss_cg, axis=1)
        return np.where(np.array([[each is not None] for each in self.refused]), np.inf, logs)

    def tokens_to(self, log_loss: float) -> FloatArray:
        """Return the least tokens with which each candidate reaches a loss; infinite where it can't."""
        found = np.full(len(self.candidates), np.inf)
        for index, curve in enumerate(self.log_loss_cg):
            if curve[-1] <= log_loss:
                tokens = float(np.exp(np.interp(-log_loss, -curve, np.log(self.grid_cg[index]))))
                found[index] = _whole_steps(self.candidates[index], tokens, up=True)
        return np.minimum(found, np.where(np.isfinite(found), self.most_tokens, np.inf))

    def run_seconds(self, tokens: FloatArray) -> FloatArray:
        pairs = zip(self.candidates, tokens, strict=True)
        return np.array([each.seconds(float(t), self.unique) if np.isfinite(t) else np.inf for each, t in pairs])

    @cached_property
    def serving(self) -> FloatArray:
        """Seconds of the same devices to serve one token."""
        return np.array([serving_seconds(each) for each in self.candidates])

    def epochs(self, tokens: float) -> float:
        return max(1.0, tokens / self.unique)

    def log_loss_at(self, index: int, tokens: float) -> float:
        return float(np.interp(np.log(tokens), np.log(self.grid_cg[index]), self.log_loss_cg[index]))

    def choice(self, index: int, tokens: float, kind: str, reason: str) -> Choice:
        each = self.candidates[index]
        cost = (each.seconds(tokens, self.unique), self.log_loss_at(index, tokens), float(self.serving[index]))
        return Choice(each, tokens, (kind,), (reason,), cost)


def serving_seconds(candidate: Candidate) -> float:
    """Return how long the machine that trains takes to serve one token."""
    return candidate.seconds_per_token * SERVED_FLOPS / SERVED_RATE


def _whole_steps(candidate: Candidate, tokens: float, up: bool = False) -> float:
    steps = tokens / candidate.batch_tokens
    return float(np.ceil(steps) if up else np.floor(steps)) * candidate.batch_tokens


def choose(field_: Field, serve_tokens: float | None) -> tuple[list[Choice], float]:
    """Return the choices, compute-optimal first, and the tokens served that they were made for.

    By default as many are served as the compute-optimal model trains on. At least one candidate must be able to train.
    """
    best = int(np.argmin(field_.log_loss_cg[:, -1]))
    first = _compute_optimal(field_, best)
    served = first.tokens if serve_tokens is None else serve_tokens
    limit = float(field_.log_loss_cg[best, -1]) + float(np.log1p(SLACK))
    others = [_inference_aware(field_, first, limit, served), _data_limited(field_, first, limit)]
    return _without_dominated(_merged([first, *[each for each in others if each is not None]])), served


def _compute_optimal(field_: Field, best: int) -> Choice:
    tokens = float(field_.best_tokens[best])
    reason = "the least expected loss for the budget"
    epochs = tokens / field_.unique
    if epochs > 1:
        reason += f", at {epochs:.1f} epochs"
    if tokens < field_.most_tokens[best]:
        reason += "; more epochs would be memorised"
    return field_.choice(best, tokens, COMPUTE, reason)


def _inference_aware(field_: Field, first: Choice, limit: float, served: float) -> Choice | None:
    tokens = field_.tokens_to(limit)
    total = field_.run_seconds(tokens) + served * field_.serving
    index = int(np.argmin(total))
    own = first.cost[0] + served * first.cost[2]
    if not total[index] < (1 - MIN_SAVING) * own:
        return None
    saved, smaller = 1 - total[index] / own, first.candidate.params / field_.candidates[index].params
    ratio = tokens[index] / field_.candidates[index].params / (first.tokens / first.candidate.params)
    what = f"{smaller:.1f} times smaller, " if smaller > 1.02 else "no smaller, "
    longer = f"{ratio:.1f} times the tokens a parameter" if ratio >= 1 else "trained for less time"
    reason = (
        f"{what}{longer}: loss within {SLACK:.0%} of the least, and {saved:.0%} less for training and for serving "
        f"{served:.2g} tokens together"
    )
    return field_.choice(index, float(tokens[index]), INFERENCE, reason)


def _data_limited(field_: Field, first: Choice, limit: float) -> Choice | None:
    if not np.isfinite(field_.unique):
        return None
    if first.tokens > field_.unique:
        return _shortest(field_, first, limit)
    # whole steps of the text, read once
    once = np.array([_whole_steps(each, field_.unique) for each in field_.candidates])
    able = (once <= field_.most_tokens) & np.isfinite(field_.log_loss_cg[:, -1])
    if not able.any():
        return None
    params = np.array([each.params for each in field_.candidates], dtype=np.float64)
    largest = able & (params == params[able].max())
    index = int(np.argmin(np.where(largest, field_.log_loss_cg[:, -1], np.inf)))
    reason = (
        f"there is {field_.unique / first.tokens:.1f} times the text that the least loss takes; this is the largest "
        "model that reads all of it once: smaller, and cheaper to serve"
    )
    return field_.choice(index, float(once[index]), DATA, reason)


def _shortest(field_: Field, first: Choice, limit: float) -> Choice:
    """Return the shortest run within the slack; the first choice again where it saves next to nothing."""
    tokens = field_.tokens_to(limit)
    seconds = field_.run_seconds(tokens)
    index = int(np.argmin(seconds))
    if not seconds[index] < (1 - MIN_SAVING) * first.cost[0]:
        reason = "the text limits it: more text would bring more than more computing"
        return Choice(first.candidate, first.tokens, (DATA,), (reason,), first.cost)
    reason = (
        f"{seconds[index] / first.cost[0]:.0%} of the compute-optimal run's time comes within {SLACK:.0%} of its loss, "
        f"at {field_.epochs(float(tokens[index])):.1f} epochs"
    )
    return field_.choice(index, float(tokens[index]), DATA, reason)


def _merged(choices: list[Choice]) -> list[Choice]:
    """Return the choices with those that are next to the same as one that has both names."""
    found: list[Choice] = []
    for each in choices:
        same = [place for place, other in enumerate(found) if _is_same(each, other)]
        if same:
            other = found[same[0]]
            found[same[0]] = Choice(
                other.candidate, other.tokens, other.kinds + each.kinds, other.reasons + each.reasons, other.cost
            )
        else:
            found.append(each)
    return found


def _is_same(one: Choice, other: Choice) -> bool:
    """Return whether two choices are one model, trained about as long."""
    return one.candidate.model == other.candidate.model and abs(np.log(one.tokens / other.tokens)) < MIN_SAVING


def dominates(one: Choice, other: Choice) -> bool:
    """Return whether `one` is at least as good in time, loss and cost of serving, and better in one of them."""
    pairs = list(zip(one.cost, other.cost, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _without_dominated(choices: list[Choice]) -> list[Choice]:
    return [each for each in choices if not any(dominates(other, each) for other in choices)]
