"""What a table of the user's own runs says of any run, in the same words as the published laws do. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.plan.arrays import FloatArray
from headwater.plan.law.forecast import Forecaster
from headwater.plan.law.refusal import forecast_refusal
from headwater.plan.law.schedule import NO_MOVE, Move
from headwater.plan.law.table import read_runs
from headwater.plan.score import Z90


@dataclass(frozen=True)
class OwnRuns:
    """The forecaster of one table; its unit is the table's, which no column names.

    `move` is what the run's schedule changes where the table's runs had another, `move_how` why. `fresh_part` is what
    their tokens are worth in fresh ones, where they read their text more than once.
    """

    forecaster: Forecaster
    path: Path
    move: Move = NO_MOVE
    move_how: str = ""
    fresh_part: float = 1.0

    @property
    def unit(self) -> str:
        return f"as in {self.path.name}"

    @property
    def counts_embedding(self) -> bool:
        return True

    @property
    def counts_idle_params(self) -> bool:
        return True

    @property
    def members(self) -> list[tuple[str, OwnRuns]]:
        return []

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        shape = np.broadcast_shapes(params.shape, tokens.shape)
        flat = [np.broadcast_to(values, shape).ravel() for values in (params, tokens / self.fresh_part)]
        return np.log(self.forecaster.posterior.predict(*flat)[0]).reshape(shape) + self.move.log_ratio

    def quantiles(self, params: float, tokens: float, log_factor: float = 0.0) -> tuple[float, float, float]:
        medians, deviations = self.forecaster.spread(np.array([params]), np.array([tokens / self.fresh_part]))
        median = float(medians[0]) * math.exp(log_factor + self.move.log_ratio)
        wide = math.exp(Z90 * math.hypot(float(deviations[0]), self.move.deviation))
        return median / wide, median, median * wide

    def refusal(self, params: float, tokens: float) -> str | None:
        return forecast_refusal(self.forecaster.runs, params, tokens / self.fresh_part)

    def how(self, params: float, tokens: float) -> str:
        how = f"law of {len(self.forecaster.runs)} runs in {self.path}"
        return f"{how}; {self.move_how}" if self.move_how else how


def own_runs(path: Path, move: Move = NO_MOVE, move_how: str = "", fresh_part: float = 1.0) -> OwnRuns:
    """Return the forecaster of a table; raise DataError for one that can't be read."""
    return OwnRuns(Forecaster(read_runs(path)), path, move, move_how, fresh_part)
