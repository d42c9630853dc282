"""Which small runs tell most about a large one, for the time they take.

Before a run is made its loss is unknown, but how much it would narrow the forecast isn't: the variance that rungs leave
at the target follows from their sizes (surface.py). So those are chosen that leave the least within the seconds at
hand: one after another, then exchanged one for another as long as that helps (Fedorov 1972).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from headwater.scaling.surface import Surface
from headwater.scaling.table import MIN_RUNS

# the run's compute over a rung's: nearer, one may as well train the run; further, a rung is another regime
LEAST_RATIO, MOST_RATIO = 4.0, 40.0
_GAIN = 1e-3  # of the variance, that an exchange is worth


class Sized(Protocol):
    """What a design needs to know of a run: its sizes, what it takes, and whether its model is the target's own."""

    @property
    def shape(self) -> Hashable: ...
    @property
    def size(self) -> float: ...
    @property
    def tokens(self) -> float: ...
    @property
    def flops(self) -> float: ...
    @property
    def seconds(self) -> float: ...


R = TypeVar("R", bound=Sized)


def usable(candidates: Sequence[R], target: R) -> list[R]:
    """Return the runs that are neither too near the target's compute nor too far below it."""
    return [rung for rung in candidates if LEAST_RATIO <= target.flops / rung.flops <= MOST_RATIO]


def design(candidates: Sequence[R], target: R, budget_seconds: float) -> list[R] | None:
    """Return the MIN_RUNS rungs that leave the forecast of `target` the narrowest, smallest compute first.

    None where they don't fit into the budget. One of them has the target's own shape where that fits: it says how long
    the run's step takes here, which no other shape does as well.
    """
    affordable = [rung for rung in usable(candidates, target) if rung.seconds <= budget_seconds]
    if len(affordable) < MIN_RUNS or sum(sorted(rung.seconds for rung in affordable)[:MIN_RUNS]) > budget_seconds:
        return None
    choice = _Choice(affordable, target, budget_seconds)
    own = [place for place in choice.fitting([], MIN_RUNS - 1) if affordable[place].shape == target.shape]
    starts = [[place] for place in own] or [[]]
    best = min((choice.exchanged(choice.filled(start), len(start)) for start in starts), key=choice.variance)
    return sorted((affordable[place] for place in best), key=lambda rung: rung.flops)


class _Choice:
    """Choosing from runs within the seconds at hand."""

    def __init__(self, rungs: Sequence[Sized], target: Sized, budget_seconds: float) -> None:
        everyone = [*rungs, target]
        self.variance = Surface([rung.size for rung in everyone], [rung.tokens for rung in everyone]).variance
        self._seconds, self._budget = np.array([rung.seconds for rung in rungs]), budget_seconds * (1 + 1e-9)

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
