"""The array type of the laws, and the one interval that people see: 80 %, P10 to P90."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Z_P90 = NormalDist().inv_cdf(0.9)
