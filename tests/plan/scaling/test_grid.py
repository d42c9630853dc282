"""The batched solver against scipy's, one problem at a time."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from headwater.plan.scaling.law import solve_nonnegative


def test_agrees_with_scipy_whichever_coefficients_are_zero():
    chance = np.random.default_rng(0)
    problems = [(chance.standard_normal((12, 3)), chance.standard_normal(12)) for _ in range(200)]
    zeros_seen = set()
    for columns, target in problems:
        found, squares = solve_nonnegative(
            (columns.T @ columns)[None], (columns.T @ target)[None], float(target @ target)
        )
        expected, norm = nnls(columns, target)
        np.testing.assert_allclose(found[0], expected, atol=1e-8)
        np.testing.assert_allclose(squares[0], norm**2, rtol=1e-8)
        zeros_seen.add(tuple(expected == 0))
    assert len(zeros_seen) == 8, "the problems must reach every set of zeros"
