"""A run's loss from a few smaller runs of the same make: a response surface, as Box and Wilson (1951) fit them.

The logarithm of the loss is a polynomial of second degree in the logarithms of parameters and tokens, both over the
target's; its coefficients have normal priors. Near a handful of runs of one make it is nearer than the law of law.py,
whose terms add: what more tokens bring grows with the model as long as a run is far from its floor. Parameters are
those of matrix products (the head's among them): by these alone rungs of any depth lay within 0.2 % of one surface
(docs/decisions/0073). What reading text again costs is a term of its own, known to a factor.

The variance of the forecast follows from sizes alone: so it also says which runs to train. Those are chosen that leave
the least within the seconds at hand: one after another, then exchanged one for another as long as that helps (Fedorov
1972). Losses that the priors don't allow scale it afterwards.

m runs, the last of which is the target
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from headwater.plan.scaling.table import MIN_RUNS, OWN, FloatArray

NOISE = 0.004  # of one run, relative, and how far it may lie from the surface
# mean and deviation of the coefficients of n, d, n d, d² and n², and of the logarithm of repetition's strength. By the
# grids of three recipes and six ladders (docs/log.md, 2026-11-30); the level is left open
PRIOR = ((-0.04, 0.03), (-0.10, 0.04), (-0.016, 0.008), (0.013, 0.006), (0.007, 0.004), (0.0, OWN.log_deviation))
_OPEN = 10.0
PRIOR_RUNS = 4.0  # how many runs the prior's own scale is worth (`Posterior`)
# the run's compute over a rung's: nearer, one may as well train the run; further, a rung is another regime
LEAST_RATIO, MOST_RATIO = 4.0, 40.0
_GAIN = 1e-3  # of the variance, that an exchange is worth


class Surface:
    """Log losses of m runs as the priors have them: what is known of each, and the covariance of what isn't.

    `penalties` (m,) are those of repetition.penalty, 0 where no text is read twice.
    """

    def __init__(self, params: ArrayLike, tokens: ArrayLike, penalties: ArrayLike = 0.0) -> None:
        n, d = (np.log(sizes / sizes[-1]) for sizes in map(np.asarray, (params, tokens)))
        costs = OWN.median * np.broadcast_to(penalties, n.shape)
        terms = np.stack([np.ones_like(n), n, d, n * d, d * d, n * n, costs / (1 + costs)], axis=1)
        means, deviations = np.array([(0.0, _OPEN), *PRIOR]).T
        self._known = terms @ means + np.log1p(costs)
        self._covariance = (terms * deviations**2) @ terms.T

    def variance(self, rows: Sequence[int]) -> float:
        """Return the variance of the target's log loss once the runs of these places are made."""
        return self._weighed(rows)[1]

    def forecast(self, loss: ArrayLike) -> tuple[float, float]:
        """Return the target's median and the deviation of its logarithm, given the others' losses (m - 1,).

        Losses that lie further from the priors than these allow make it wider: runs of another regime show themselves.
        """
        off = np.log(loss) - self._known[:-1]
        weights, variance = self._weighed(rows := range(len(off)))
        scale = (PRIOR_RUNS + float(off @ np.linalg.solve(self._among(rows), off))) / (PRIOR_RUNS + len(off) - 1)
        return math.exp(self._known[-1] + float(weights @ off)), math.sqrt(variance * max(1.0, scale))

    def _weighed(self, rows: Sequence[int]) -> tuple[FloatArray, float]:
        """Return the weights of rows in the target's forecast, and its variance with the noise of one run."""
        shared = self._covariance[rows, -1]
        weights = np.linalg.solve(self._among(rows), shared)
        return weights, max(0.0, float(self._covariance[-1, -1] - shared @ weights)) + NOISE**2

    def _among(self, rows: Sequence[int]) -> FloatArray:
        return np.asarray(self._covariance[np.ix_(rows, rows)] + NOISE**2 * np.eye(len(rows)))


def design(
    size: ArrayLike, tokens: ArrayLike, seconds: FloatArray, is_own: Sequence[bool], budget_seconds: float
) -> list[int] | None:
    """Return the places of the MIN_RUNS rungs that leave the forecast of the target the narrowest.

    `size` and `tokens` (m,) are those of rungs and of the target, which is last; `seconds` what MIN_RUNS rungs or more
    take. None where they don't fit into the budget. One of them has the target's own shape (`is_own`) where that fits:
    it says how long the run's step takes here, which no other shape does as well.
    """
    if np.sort(seconds)[:MIN_RUNS].sum() > budget_seconds:
        return None
    choice = _Choice(Surface(size, tokens), seconds, budget_seconds)
    starts = [[place] for place in choice.fitting([], MIN_RUNS - 1) if is_own[place]] or [[]]
    return min((choice.exchanged(choice.filled(start), len(start)) for start in starts), key=choice.variance)


class _Choice:
    """Choosing from runs within the seconds at hand."""

    def __init__(self, surface: Surface, seconds: FloatArray, budget_seconds: float) -> None:
        self.variance, self._seconds, self._budget = surface.variance, seconds, budget_seconds * (1 + 1e-9)

    def filled(self, chosen: list[int]) -> list[int]:
        """Add rung after rung, each the best that leaves enough seconds for the cheapest others."""
        while len(chosen) < MIN_RUNS:
            options = self.fitting(chosen, MIN_RUNS - len(chosen) - 1)
            chosen = [*chosen, min(options, key=lambda place: self.variance([*chosen, place]))]
        return chosen

    def exchanged(self, chosen: list[int], num_kept: int) -> list[int]:
        """Replace one rung by another as long as that leaves less variance, but for the first `num_kept`."""
        while True:
            others = [[*chosen[:at], *chosen[at + 1 :]] for at in range(num_kept, len(chosen))]
            options = [[*rest, place] for rest in others for place in self.fitting(rest, 0)]
            best = min(options, key=self.variance)
            if self.variance(best) >= (1 - _GAIN) * self.variance(chosen):
                return chosen
            chosen = best

    def fitting(self, chosen: list[int], num_others: int) -> list[int]:
        """Return the rungs beside which the cheapest others still fit into the budget."""
        left, order = self._budget - self._seconds[chosen].sum(), np.argsort(self._seconds, kind="stable")
        options = order[~np.isin(order, chosen)]
        seconds = self._seconds[options]
        # each of the cheapest has the next one for company, in place of itself
        least = seconds[:num_others].sum() + np.maximum(seconds, seconds[num_others])
        return [int(place) for place in options[least <= left]]
