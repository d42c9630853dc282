"""Tables made from a law that is known: the truth that a fit must find."""

from __future__ import annotations

import numpy as np

from headwater.plan.scaling.law import Law
from headwater.plan.scaling.table import Runs

TRUE = Law(E=1.7, A=400.0, B=900.0, alpha=0.33, beta=0.31)


def runs_of(params, tokens, loss) -> Runs:
    """Return runs of plain sequences of numbers."""
    params, tokens, loss = (np.asarray(values, dtype=np.float64) for values in (params, tokens, loss))
    return Runs(params, tokens, loss)


def isoflop_runs(law: Law = TRUE, noise: float = 0.0, seed: int = 0, budgets: int = 6, sizes: int = 7) -> Runs:
    """Return runs at `budgets` amounts of compute half a decade apart, each over a factor of ten in size."""
    flops = np.repeat(1e18 * 10 ** (0.5 * np.arange(budgets)), sizes)
    params = np.tile(10 ** np.linspace(-0.5, 0.5, sizes), budgets) * 0.1 * np.sqrt(flops)
    tokens = flops / (6 * params)
    off = noise * np.random.default_rng(seed).standard_normal(len(params))
    return runs_of(params, tokens, law.loss(params, tokens) * np.exp(off))


def ladder_runs(sizes: list[float], ratios: list[float], law: Law = TRUE, noise: float = 0.0) -> Runs:
    """Return a run of each size at each number of tokens per parameter."""
    pairs = [(size, size * ratio) for size in sizes for ratio in ratios]
    params, tokens = (np.array(values) for values in zip(*pairs))
    off = noise * np.random.default_rng(0).standard_normal(len(params))
    return runs_of(params, tokens, law.loss(params, tokens) * np.exp(off))
