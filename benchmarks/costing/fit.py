"""The few constants of the time model, fitted with a prior and a loss that outliers don't bend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares

from costing.efficiency import Efficiency
from costing.observed import Observed
from costing.step_time import step_seconds

PRIOR = {
    "matmul_ampere": 0.80,
    "matmul_hopper": 0.65,
    "matmul_fp8": 0.75,
    "matmul_fp8_rowwise": 0.50,
    "attention_ampere": 0.35,
    "attention_hopper": 0.20,
    "second_flash_gain": 1.7,
    "memory": 0.80,
    "links": 0.75,
    "network": 0.75,
    "overlap": 0.90,
    "hop_seconds": 5e-6,
}
"What microbenchmarks of such devices are known for; where rows say nothing, a constant stays there."
LOWEST = {"second_flash_gain": 1.0, "hop_seconds": 1e-6}
HIGHEST = {"second_flash_gain": 3.0, "overlap": 1.0, "hop_seconds": 5e-5}
PRIOR_LOG_DEVIATION = 0.2
NOISE = 0.06
"Log deviation of a usual row from the model; beyond it residuals count less than their square."


def fit(rows: Sequence[Observed], start: dict[str, float] | None = None) -> dict[str, float]:
    """Return constants that make these rows' step times likely.

    Rows of one source count together no more than the square root of their number, so that the largest table doesn't
    decide everything.
    """
    names = list(PRIOR)
    observed = [row for row in rows if row.seconds is not None]
    sources = [row.source for row in observed]
    weights = np.array([sources.count(source) ** -0.25 for source in sources])
    weights /= weights.mean()
    truth = np.log([row.seconds for row in observed])
    prior = np.log([PRIOR[name] for name in names])

    def residuals(logs: np.ndarray) -> np.ndarray:
        efficiency = Efficiency(dict(zip(names, np.exp(logs).tolist(), strict=True)))
        predicted = np.array([math.log(step_seconds(row.work, efficiency)) for row in observed])
        return np.concatenate([weights * (predicted - truth) / NOISE, (logs - prior) / PRIOR_LOG_DEVIATION])

    lowest = np.log([LOWEST.get(name, 0.05) for name in names])
    highest = np.log([HIGHEST.get(name, 1.0) for name in names])
    first = np.log([(start or PRIOR)[name] for name in names])
    first = np.clip(first, lowest + 1e-6, highest - 1e-6)
    found = least_squares(
        residuals, first, bounds=(lowest, highest), loss="soft_l1", xtol=1e-4, ftol=1e-5, diff_step=1e-3
    )
    return dict(zip(names, np.exp(found.x).tolist(), strict=True))


def predict_blind(
    rows: Sequence[Observed], by: str, whole: dict[str, float], given: Sequence[Observed] | None = None
) -> list[float]:
    """Return the step time of each of `given`, by default of `rows`, from constants fitted on the rows that don't share
    its `by` ("group" or "source").
    """
    given = rows if given is None else given
    fitted: dict[str, Efficiency] = {}
    for key in dict.fromkeys(getattr(row, by) for row in given):
        fitted[key] = Efficiency(fit([row for row in rows if getattr(row, by) != key], start=whole))
    return [step_seconds(row.work, fitted[getattr(row, by)]) for row in given]
