"""What losses a search over a budget goes by: a published law, or that of a table of the user's own runs. No torch.

The published law is that of arXiv:2305.16264, which says what repeated text costs, too. A mixture of nine laws of seven
families was further from the best size on families that it had not seen, and no nearer to their losses (docs/log.md,
2026-11-29).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from headwater.plan.scaling.estimator import ScalingLaw
from headwater.plan.scaling.law import Law
from headwater.plan.scaling.repetition import EXPONENT, NAME, A, B, E, Strength, most_epochs, penalty, repeated_loss
from headwater.plan.scaling.table import FLOPS_PER_PARAM_TOKEN, MAX_EPOCHS, FloatArray

NATS = "nats per token"
LAW = Law(E, A, B, EXPONENT, EXPONENT)
LEAST_FLOPS, MOST_FLOPS = 4e17, 1e26
"""Compute at which the law has a level: its rows have 1.4e18 to 1.3e22 FLOPs. Half a decade below them losses of small
runs are up to 10 % off; above, loss only nears the floor."""
OTHER_TEXT = 0.13
"""Deviation of log loss with text and tokenizer: of 16 tables of five families that the law has not seen, from 14 %
below it to 24 % above."""


@dataclass(frozen=True)
class PublishedLaw:
    """The law of arXiv:2305.16264; text that is read again costs what it says, or by another `penalty`.

    `sizes` leave the input's embedding out, which isn't multiplied; `params` count all, which memorise.
    """

    penalty: Strength | None = None
    counts_embedding: ClassVar[bool] = False

    def log_loss(
        self, sizes: FloatArray, params: FloatArray, tokens: FloatArray, unique: float = math.inf
    ) -> FloatArray:
        """Return log losses: good for telling sizes apart to within a few percent of the loss."""
        if self.penalty is None:
            return np.asarray(np.log(repeated_loss(sizes, tokens, unique)))
        return np.asarray(np.log(LAW.loss(sizes, tokens)) + self.penalty.log_cost(params, tokens, unique))

    def most_epochs(self, params: float, unique: float) -> float:
        """Return the most epochs that a search tries."""
        return most_epochs(params, unique) if self.penalty is None else MAX_EPOCHS

    def expected(
        self, size: float, params: float, tokens: float, unique: float = math.inf
    ) -> tuple[float, float] | None:
        """Return the median in nats per token, and the deviation of its logarithm; None where `how` says.

        The rise by repeated text and by more parameters than it carries is taken to be uncertain by half: by about so
        much the penalty that was fitted on the runs of this law differs from it.
        """
        if not LEAST_FLOPS <= FLOPS_PER_PARAM_TOKEN * size * tokens <= MOST_FLOPS:
            return None
        N, D = np.array(size), np.array(tokens)
        log_loss = float(self.log_loss(N, np.array(params), D, unique))
        rise = log_loss - math.log(float(LAW.loss(N, D)))
        return math.exp(log_loss), math.hypot(OTHER_TEXT, 0.5 * rise)

    def refusal(self, params: float, tokens: float) -> str | None:
        return None

    def how(self, params: float, tokens: float) -> str:
        """Say what the level rests on, or why there is none, in a sentence."""
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        if LEAST_FLOPS <= flops <= MOST_FLOPS:
            return (
                f"the published law of {NAME}. Text and tokenizer of other runs put them up to a quarter off; sizes "
                "are compared to within two percent. --runs CSV forecasts from runs of your own"
            )
        return (
            f"no loss is given: the published law of {NAME} is good from {LEAST_FLOPS:.2g} to {MOST_FLOPS:.2g} FLOPs, "
            f"and {flops:.2g} lie too far outside. Sizes are compared by extrapolation; "
            "a loss is forecast from runs of your own: --runs CSV, or `headwater ladder RUN`"
        )


@dataclass(frozen=True)
class OwnRuns:
    """The law of one table, in the table's unit, which no column names."""

    law: ScalingLaw
    path: Path
    counts_embedding: ClassVar[bool] = True

    def log_loss(
        self, sizes: FloatArray, params: FloatArray, tokens: FloatArray, unique: float = math.inf
    ) -> FloatArray:
        shape = np.broadcast_shapes(sizes.shape, tokens.shape)
        flat = [np.broadcast_to(values, shape).ravel() for values in (sizes, tokens)]
        # what was divided out of the rows is multiplied back on
        cost = np.log1p(self.law.likeliest_strength * penalty(params, tokens, unique))
        return np.asarray(self.law.log_loss(*flat).reshape(shape) + cost)

    def most_epochs(self, params: float, unique: float) -> float:
        """Return the most epochs that a search tries: all that were measured, for the penalty says which are best."""
        return MAX_EPOCHS

    def expected(self, size: float, params: float, tokens: float, unique: float = math.inf) -> tuple[float, float]:
        """Return median and deviation of its logarithm; the law adds what reading `unique` tokens again costs.

        Runs of the table that repeat their text leave law and strength open together: each counted alone is too wide.
        """
        found = self.law.predict(size, tokens, unique_tokens=unique)
        return float(found.median[0]), float(found.log_deviation[0])

    def refusal(self, params: float, tokens: float) -> str | None:
        """Return why a budget can't choose this run: too far from the rows, or of a shape that none of them is like."""
        doubts = self.law.warnings(params, tokens)
        return next((each.says for each in doubts if each.code in ("refused", "other_shape")), None)

    def how(self, params: float, tokens: float) -> str:
        doubts = (f"not sure: {warning.says}" for warning in self.law.warnings(params, tokens))
        return "; ".join([f"law of {len(self.law.table)} runs in {self.path}", *doubts])
