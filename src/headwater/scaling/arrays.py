"""The array type of the laws, and the one level of interval that people see: 80 %, P10 to P90."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LEVEL = 0.8


def deviations_of(level: float) -> float:
    """Return how many standard deviations of a normal lie between its median and either end of a central interval."""
    return NormalDist().inv_cdf((1 + level) / 2)


Z_P90 = deviations_of(LEVEL)
