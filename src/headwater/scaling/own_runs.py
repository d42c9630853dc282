"""What a table of the user's own runs says of any run, in the same words as the published laws do. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from headwater.scaling.arrays import Z_P90, FloatArray
from headwater.scaling.estimator import ScalingLaw
from headwater.scaling.reach import forecast_refusal, forecast_warnings
from headwater.scaling.repetition import Strength
from headwater.scaling.table import most_epochs_of


@dataclass(frozen=True)
class OwnRuns:
    """The law of one table; its unit is the table's, which no column names.

    Losses are multiplied by e^`log_factor`, known to a standard deviation of `factor_deviation`, for why `factor_how`
    says.
    """

    law: ScalingLaw
    path: Path
    log_factor: float = 0.0
    factor_deviation: float = 0.0
    factor_how: str = ""
    counts_embedding: ClassVar[bool] = True

    @property
    def unit(self) -> str:
        return f"as in {self.path.name}"

    @cached_property
    def strength(self) -> Strength:
        """That of the losses below: what was divided out of them is multiplied back on."""
        return replace(self.law.strength, median=self.law.likeliest_strength)

    @property
    def epochs(self) -> float:
        return most_epochs_of(self.law.table)

    @property
    def members(self) -> list[tuple[str, OwnRuns]]:
        return []

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        shape = np.broadcast_shapes(params.shape, tokens.shape)
        flat = [np.broadcast_to(values, shape).ravel() for values in (params, tokens)]
        return self.law.log_loss(*flat).reshape(shape) + self.log_factor

    def quantiles(
        self, params: float, tokens: float, log_factor: float = 0.0, unique_tokens: float = math.inf
    ) -> tuple[float, float, float]:
        """Return P10, P50 and P90 shifted by `log_factor`; the law adds what reading `unique_tokens` again costs.

        Runs of the table that repeat their text leave law and strength open together: each counted alone is too wide.
        """
        found = self.law.predict(params, tokens, unique_tokens=unique_tokens)
        median = float(found.median[0]) * math.exp(log_factor + self.log_factor)
        factor = math.exp(Z_P90 * math.hypot(float(found.log_deviation[0]), self.factor_deviation))
        return median / factor, median, median * factor

    def refusal(self, params: float, tokens: float) -> str | None:
        return forecast_refusal(self.law.runs, params, tokens)

    def how(self, params: float, tokens: float) -> str:
        how = f"law of {len(self.law.table)} runs in {self.path}"
        doubts = (f"not sure: {warning.says}" for warning in forecast_warnings(self.law.runs, params, tokens))
        return "; ".join([how, *([self.factor_how] if self.factor_how else []), *doubts])
