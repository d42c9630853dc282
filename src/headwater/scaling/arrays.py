"""The array type of the planner's numbers, and products of small matrices."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

FloatArray = NDArray[np.float64]
Z_P90, Z_P95 = (NormalDist().inv_cdf(share) for share in (0.90, 0.95))
"Standard deviations from a normal's median to these percentiles; bands that people see are P10 to P90."


def on_one_thread() -> threadpool_limits:
    """Return a context in which numpy multiplies on one thread.

    Matrices of a fit are small. Under load two threads wait for each other, spinning: a fit of 0.2 s took
    10, and slowed the other one down.
    """
    return threadpool_limits(limits=1, user_api="blas")
