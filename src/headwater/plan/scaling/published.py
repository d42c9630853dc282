"""What losses a search over a budget goes by: a published law, or that of a table of the user's own runs. No torch.

The published law is that of arXiv:2305.16264, which says what repeated text costs, too. A mixture of nine laws of seven
families was further from the best size on families that it had not seen, and no nearer to their losses (docs/log.md,
2026-11-29).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.model.count import ParameterCount
from headwater.plan.scaling.estimator import ScalingLaw
from headwater.plan.scaling.table import (
    FLOPS_PER_PARAM_TOKEN,
    MAX_EPOCHS,
    NAME,
    FloatArray,
    most_epochs,
    penalty,
    repeated_loss,
)

NATS = "nats per token"
LEAST_FLOPS, MOST_FLOPS = 4e17, 1e26
"""Compute at which the law has a level: its rows have 1.4e18 to 1.3e22 FLOPs. Half a decade below them losses of small
runs are up to 10 % off; above, loss only nears the floor."""
OTHER_TEXT = 0.13
"""Deviation of log loss with text and tokenizer: of 16 tables of five families that the law has not seen, from 14 %
below it to 24 % above."""


class PublishedLaw:
    """The law of arXiv:2305.16264, whose parameters leave the input's embedding out, which isn't multiplied."""

    def most_epochs(self, params: float, unique: float) -> float:
        """Return the most epochs that a search tries."""
        return most_epochs(params, unique)

    def log_loss(self, size: ParameterCount, tokens: FloatArray, unique: float = math.inf) -> FloatArray:
        """Return log losses: good for telling sizes apart to within a few percent of the loss."""
        return np.log(repeated_loss(np.array(float(size.matmul)), tokens, unique))

    def expected(self, size: ParameterCount, tokens: float, unique: float = math.inf) -> tuple[float, float] | None:
        """Return the median in nats per token, and the deviation of its logarithm; None where `how` says.

        The rise by repeated text and by more parameters than it carries is taken to be uncertain by half: by about so
        much the penalty that was fitted on the runs of this law differs from it.
        """
        if not LEAST_FLOPS <= self._flops(size, tokens) <= MOST_FLOPS:
            return None
        log_loss = float(self.log_loss(size, np.array(tokens), unique))
        rise = log_loss - float(self.log_loss(size, np.array(tokens)))
        return math.exp(log_loss), math.hypot(OTHER_TEXT, 0.5 * rise)

    def refusal(self, size: ParameterCount, tokens: float) -> str | None:
        return None

    def how(self, size: ParameterCount, tokens: float) -> str:
        """Say what the level rests on, or why there is none, in a sentence."""
        flops = self._flops(size, tokens)
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

    def _flops(self, size: ParameterCount, tokens: float) -> float:
        return FLOPS_PER_PARAM_TOKEN * size.matmul * tokens


@dataclass(frozen=True)
class OwnRuns:
    """The law of one table, in the table's unit, which no column names. It counts all parameters."""

    law: ScalingLaw
    path: Path

    def most_epochs(self, params: float, unique: float) -> float:
        """Return the most epochs that a search tries: all that were measured, for the penalty says which are best."""
        return MAX_EPOCHS

    def log_loss(self, size: ParameterCount, tokens: FloatArray, unique: float = math.inf) -> FloatArray:
        """Return log losses of many lengths; what was divided out of the rows is multiplied back on."""
        params = np.full_like(np.atleast_1d(tokens), size.total)
        cost = np.log1p(self.law.likeliest_strength * penalty(params, tokens, unique))
        return (self.law.log_loss(params, np.atleast_1d(tokens)) + cost).reshape(np.shape(tokens))

    def expected(self, size: ParameterCount, tokens: float, unique: float = math.inf) -> tuple[float, float]:
        """Return median and deviation of its logarithm; the law adds what reading `unique` tokens again costs.

        Runs of the table that repeat their text leave law and strength open together: each counted alone is too wide.
        """
        found = self.law.predict(size.total, tokens, unique_tokens=unique)
        return float(found.median[0]), float(found.log_deviation[0])

    def refusal(self, size: ParameterCount, tokens: float) -> str | None:
        """Return why a budget can't choose this run: too far from the rows, or of a shape that none of them is like."""
        doubts = self.law.warnings(size.total, tokens)
        return next((each.says for each in doubts if each.code in ("refused", "other_shape")), None)

    def how(self, size: ParameterCount, tokens: float) -> str:
        doubts = (f"not sure: {warning.says}" for warning in self.law.warnings(size.total, tokens))
        return "; ".join([f"law of {len(self.law.table)} runs in {self.path}", *doubts])
