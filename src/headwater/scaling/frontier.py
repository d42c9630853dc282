"""The compute-optimal size for a budget of FLOPs (6 x params x tokens), and loss along a budget.

For one law the optimum is closed: N* = G (C/6)^(beta/(alpha+beta)) with G = (alpha A / (beta B))^(1/(alpha+beta)), of
arXiv:2203.15556. Here it is taken for every pair of exponents that the rows leave open, which gives its interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.scaling.arrays import FloatArray
from headwater.scaling.fit import Law
from headwater.scaling.posterior import Posterior
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN


@dataclass(frozen=True)
class Optimum:
    """The size and tokens of the least loss at a budget, with quantiles of the size."""

    flops: float
    params: float
    tokens: float
    params_p5: float
    params_p95: float
    params_p10: float
    params_p90: float


def optimal_params(law: Law, flops: float) -> float:
    """Return the size of the least loss; both terms of the law must be there."""
    scale = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    return float(scale * (flops / FLOPS_PER_PARAM_TOKEN) ** (law.beta / (law.alpha + law.beta)))


def optimum(posterior: Posterior, flops: float) -> Optimum | None:
    """Return the optimum over the laws that the rows and the prior leave open; None when they show no optimum."""
    sizes, weights = [], []
    for law, weight in posterior.laws():
        if law.A > 0 and law.B > 0:
            sizes.append(optimal_params(law, flops))
            weights.append(weight)
    if sum(weights) < 0.5:
        return None
    p5, p10, middle, p90, p95 = _quantiles(np.array(sizes), np.array(weights), (0.05, 0.1, 0.5, 0.9, 0.95))
    return Optimum(flops, middle, flops / (FLOPS_PER_PARAM_TOKEN * middle), p5, p95, p10, p90)


def _quantiles(values: FloatArray, weights: FloatArray, shares: tuple[float, ...]) -> list[float]:
    order = np.argsort(values)
    reached = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    return [float(np.exp(np.interp(share, reached, np.log(values[order])))) for share in shares]
