"""The array type of the laws, and the interval that people see: 80 %, P10 to P90."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from headwater.errors import DataError

FloatArray = NDArray[np.float64]
LEVEL = 0.8


def deviations_of(level: float) -> float:
    """Return how many standard deviations either side of the mean hold this share; raise DataError outside (0, 1)."""
    if not 0 < level < 1:
        raise DataError(f"level is {level}, and the share that an interval holds lies between 0 and 1: give 0.8, say")
    return NormalDist().inv_cdf((1 + level) / 2)


Z_P90 = deviations_of(LEVEL)
