"""Which of many sizes to train, for how long: compute-optimal, inference-aware, data-limited. No torch.

compute-optimal: the least loss that the budget buys. inference-aware (after arXiv:2401.00448): training and serving
together at the least cost, at a loss within SLACK of it: a smaller model that is trained longer. data-limited, where
the text is read more than once: the shortest run within SLACK.

c candidates · g grid of tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from headwater.forecast.candidate import Candidate
from headwater.model.count import count_parameters
from headwater.scaling.published import NATS, OwnRuns, PublishedLaws
from headwater.scaling.repetition import EXPONENT, A, B, E, Strength, repeated_loss, worth_params
from headwater.scaling.table import MAX_EPOCHS, FloatArray

SLACK = 0.01
"Of loss: about what halving a compute-optimal model costs, and less than forecasts are sure of."
SERVED_COST = 4 / 3
"Of a trained token's: the forward pass alone (2 N of 6 N), at a quarter of training's FLOP/s; the latter is assumed."
MIN_STEPS = 20
TOO_SHORT = "too few steps"
MIN_SAVING = 0.1
"Of time or of serving's cost: a choice that saves less isn't one."
NUM_GRID = 128
COMPUTE, INFERENCE, DATA = "compute-optimal", "inference-aware", "data-limited"


class PublishedRepetition:
    """arXiv:2305.16264: what parameters beyond those that a text carries are worth, and tokens read again cost.

    Whoever forecasts loss takes it of the parameters' worth, below one epoch too, and adds the cost.
    """

    def worth(self, params: FloatArray, unique: float) -> FloatArray:
        """Return how many parameters each model is worth."""
        return worth_params(params, unique)

    def log_cost(self, params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
        """Return by how much the log loss rises over that of as many fresh tokens, by the same law."""
        once = E + A / worth_params(params, np.minimum(tokens, unique)) ** EXPONENT + B / tokens**EXPONENT
        return np.asarray(np.log(repeated_loss(params, tokens, unique) / once))

    def deviation(self, params: float, tokens: float, unique: float) -> float:
        """Return that of the log loss: half of the rise, by about which the penalty fitted on the same runs differs."""
        size, rest = np.array(params), E + B / tokens**EXPONENT
        beyond = np.log((rest + A / self.worth(size, unique) ** EXPONENT) / (rest + A / size**EXPONENT))
        return 0.5 * float(self.log_cost(size, np.array(tokens), unique) + beyond)


def repetition_of(losses: PublishedLaws | OwnRuns) -> PublishedRepetition | Strength:
    """Return the published law of text read again for published losses, the table's own for a table of runs."""
    return PublishedRepetition() if losses.unit == NATS else losses.strength


@dataclass(frozen=True)
class Choice:
    """A candidate, its tokens, the names it goes by and one sentence for each."""

    candidate: Candidate
    tokens: float
    kinds: tuple[str, ...]
    reasons: tuple[str, ...]
    cost: tuple[float, float, float]
    "Seconds, log loss, seconds of the same devices to serve a token."


@dataclass(frozen=True)
class Field:
    """All candidates under one budget. `unique` is the text's tokens, infinite where it is no limit."""

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
        """Parameters as the laws count them, of those that the text carries."""
        counts = [count_parameters(each.model) for each in self.candidates]
        sizes = np.array([float(c.total if self.losses.counts_embedding else c.matmul) for c in counts])
        return self.repetition.worth(sizes, self.unique)

    @cached_property
    def most_tokens(self) -> FloatArray:
        """Whole steps of tokens that each may train on: by the budget, and the text read sixteen times."""
        cap = MAX_EPOCHS * self.unique
        return np.array([_whole_steps(c, min(cap, c.tokens(self.seconds, self.unique))) for c in self.candidates])

    @cached_property
    def refused(self) -> list[str | None]:
        """Why each can't be chosen: too few steps, or a loss that the table of runs can't carry."""
        return [
            TOO_SHORT if most < MIN_STEPS * each.batch_tokens else self.losses.refusal(float(size), float(tokens))
            for each, size, most, tokens in zip(
                self.candidates, self.sizes, self.most_tokens, self.best_tokens, strict=True
            )
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
        penalty = np.array([[each.log_penalty] for each in self.candidates])
        repeated = self.repetition.log_cost(self.params[:, None], self.grid_cg, self.unique)
        return np.asarray(self.losses.log_loss(self.sizes[:, None], self.grid_cg) + penalty + repeated)

    @cached_property
    def best_tokens(self) -> FloatArray:
        """Tokens at which each has its least loss: all that it may train on, but where the text is read too often."""
        at = self._own_log_loss_cg.argmin(axis=1)
        least = self.grid_cg[np.arange(len(self.candidates)), at]
        wholes = [_whole_steps(each, float(tokens)) for each, tokens in zip(self.candidates, least, strict=True)]
        return np.where(at < NUM_GRID - 1, np.array(wholes), self.most_tokens)

    @cached_property
    def log_loss_cg(self) -> FloatArray:
        """Log loss along the grid, penalties included, never rising; infinite for who is refused."""
        logs = np.minimum.accumulate(self._own_log_loss_cg, axis=1)
        return np.where(np.array([[each is not None] for each in self.refused]), np.inf, logs)

    @cached_property
    def best(self) -> int:
        """The place of the candidate of the least loss."""
        return int(np.argmin(self.log_loss_cg[:, -1]))

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
        return np.array([each.seconds_per_token * SERVED_COST for each in self.candidates])

    def epochs(self, tokens: float) -> float:
        return max(1.0, tokens / self.unique)

    def choice(self, index: int, tokens: float, kind: str, reason: str) -> Choice:
        each = self.candidates[index]
        log_loss = np.interp(np.log(tokens), np.log(self.grid_cg[index]), self.log_loss_cg[index])
        cost = (each.seconds(tokens, self.unique), float(log_loss), float(self.serving[index]))
        return Choice(each, tokens, (kind,), (reason,), cost)


def _whole_steps(candidate: Candidate, tokens: float, up: bool = False) -> float:
    steps = tokens / candidate.batch_tokens
    return float(np.ceil(steps) if up else np.floor(steps)) * candidate.batch_tokens


def choose(field_: Field, serve_tokens: float | None) -> tuple[list[Choice], float]:
    """Return the choices, compute-optimal first, and the tokens served that they were made for.

    By default as many are served as the compute-optimal model trains on. At least one candidate must be able to train.
    """
    first = _compute_optimal(field_)
    served = first.tokens if serve_tokens is None else serve_tokens
    limit = float(field_.log_loss_cg[field_.best, -1]) + float(np.log1p(SLACK))
    others = [_inference_aware(field_, first, limit, served), _data_limited(field_, first, limit)]
    return _merged([first, *[each for each in others if each is not None]]), served


def recommended(choices: Sequence[Choice], served: float) -> int:
    """Return the place of the choice that costs least to train and serve, of those within SLACK of the least loss.

    Forecasts are not sure of a difference that small.
    """
    limit = min(choice.cost[1] for choice in choices) + float(np.log1p(SLACK)) + 1e-9
    costs = [each.cost[0] + served * each.cost[2] if each.cost[1] <= limit else np.inf for each in choices]
    return int(np.argmin(costs))


def _compute_optimal(field_: Field) -> Choice:
    tokens = float(field_.best_tokens[field_.best])
    reason = "the least expected loss for the budget"
    epochs = tokens / field_.unique
    if epochs > 1:
        reason += f", at {epochs:.1f} epochs"
    if tokens < field_.most_tokens[field_.best]:
        reason += "; more epochs would be memorised"
    return field_.choice(field_.best, tokens, COMPUTE, reason)


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
    """Return the shortest run within the slack; the first choice again where it saves next to nothing."""
    if first.tokens <= field_.unique:
        return None
    tokens = field_.tokens_to(limit)
    seconds = field_.run_seconds(tokens)
    index = int(np.argmin(seconds))
    if not seconds[index] < (1 - MIN_SAVING) * first.cost[0]:
        reason = "the text limits it: more text would bring more than more computing"
        return replace(first, kinds=(DATA,), reasons=(reason,))
    reason = (
        f"{seconds[index] / first.cost[0]:.0%} of the compute-optimal run's time comes within {SLACK:.0%} of its loss, "
        f"at {field_.epochs(float(tokens[index])):.1f} epochs"
    )
    return field_.choice(index, float(tokens[index]), DATA, reason)


def _merged(choices: list[Choice]) -> list[Choice]:
    """Return the choices with those of one model, trained about as long, as one that has both names."""
    found: list[Choice] = []
    for each in choices:
        for place, other in enumerate(found):
            is_as_long = abs(np.log(each.tokens / other.tokens)) < MIN_SAVING
            if other.candidate.model == each.candidate.model and is_as_long:
                found[place] = replace(other, kinds=other.kinds + each.kinds, reasons=other.reasons + each.reasons)
                break
        else:
            found.append(each)
    return found
