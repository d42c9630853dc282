"""Fitted lines: which curve of the powers that theory names lies nearest, how far points are off, where it bends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

BEND = 0.10  # a point this far off the curve through the points before it is a bend


@dataclass(frozen=True)
class Fit:
    """y = Σ coefficient · x^power, no coefficient negative."""

    coefficients: dict[int, float]

    def at(self, x: float) -> float:
        return sum(coefficient * float(x) ** power for power, coefficient in self.coefficients.items())

    def __str__(self) -> str:
        terms = [f"{value:.4g}" + _POWERS.get(power, f" · x^{power}") for power, value in self.coefficients.items()]
        return " + ".join(terms)


_POWERS = {0: "", 1: " · x", 2: " · x²", 3: " · x³"}


@dataclass(frozen=True)
class Bend:
    """The first point off the curve through the points before it; `off` is a fraction of that curve's value."""

    x: float
    off: float


def fit(xs: Sequence[float], ys: Sequence[float], powers: Sequence[int]) -> Fit:
    """Return the curve of these powers with the least sum of squared relative errors and no negative coefficient.

    Relative, so that the small points count as much as the large ones; not negative, because each power stands for
    something that takes time or memory. Few powers: every choice of them is tried.
    """
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    scale = x.max()
    best: tuple[float, dict[int, float]] | None = None
    for size in range(1, len(powers) + 1):
        for chosen in combinations(powers, size):
            columns = np.stack([(x / scale) ** power / y for power in chosen], axis=1)
            solved, *_ = np.linalg.lstsq(columns, np.ones_like(y), rcond=None)
            error = float(np.square(columns @ solved - 1).sum())
            if (solved >= 0).all() and (best is None or error < best[0]):
                best = error, {power: float(c / scale**power) for power, c in zip(chosen, solved, strict=True)}
    assert best is not None, f"no curve of {powers} through {list(ys)}: they must be above 0"
    return Fit(best[1])


def residuals(curve: Fit, xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    """Return how far each point lies above the curve, as a fraction of it."""
    return [y / curve.at(x) - 1 for x, y in zip(xs, ys, strict=True)]


def find_bend(xs: Sequence[float], ys: Sequence[float], powers: Sequence[int]) -> Bend | None:
    """Return the first point more than BEND off the curve through the points before it, or None.

    At least one point more than the curve has powers is taken before one is judged.
    """
    for number in range(len(powers) + 1, len(xs)):
        expected = fit(xs[:number], ys[:number], powers).at(xs[number])
        off = ys[number] / expected - 1
        if abs(off) > BEND:
            return Bend(xs[number], off)
    return None
