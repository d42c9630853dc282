"""What exponents to expect before a run is seen: the middle of many published laws, never one of them.

Published exponents differ by a factor of six (0.11 to 0.68), and mostly because single fits scatter along a valley: a
high exponent with a high floor fits like a low one with a low floor. So the prior is narrow around the middle: it
picks the place in the valley, and rows that do tell exponents apart overrule it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from importlib import resources

import numpy as np

from headwater.scaling.arrays import FloatArray

WIDTH = 0.15  # of the logarithm; see benchmarks/law_backtest.py


@dataclass(frozen=True)
class Prior:
    """A log-normal on the geometric mean of the two exponents, and on their ratio around one."""

    centre: float
    width: float = WIDTH

    def log_density(self, space: FloatArray) -> FloatArray:
        """Return the log density, up to a constant, at every pair (alpha, beta) of a grid."""
        logs = np.log(space)
        mean, ratio = (logs[:, None] + logs[None, :]) / 2, logs[:, None] - logs[None, :]
        return -0.5 * ((mean - math.log(self.centre)) ** 2 + ratio**2) / self.width**2


def published_prior(without: str | None = None) -> Prior:
    """Return the prior of the published laws, each family counted once; `without` leaves one out to be scored on it."""
    text = (resources.files("headwater.scaling") / "data" / "published_laws.json").read_text(encoding="utf-8")
    by_family: dict[str, list[float]] = defaultdict(list)
    for law in json.loads(text):
        by_family[law["family"]].append((math.log(law["alpha"]) + math.log(law["beta"])) / 2)
    means = [sum(values) / len(values) for family, values in by_family.items() if family != without]
    return Prior(centre=math.exp(sum(means) / len(means)))
