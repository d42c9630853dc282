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


def test_a_batch_gives_what_its_members_give():
    chance = np.random.default_rng(1)
    columns, target = chance.standard_normal((5, 4, 10, 3)), chance.standard_normal(10)
    gram, moments = np.einsum("...ni,...nj->...ij", columns, columns), np.einsum("...ni,n->...i", columns, target)
    together, _ = solve_nonnegative(gram, moments, float(target @ target))
    alone, _ = solve_nonnegative(gram[2, 3][None], moments[2, 3][None], float(target @ target))
    np.testing.assert_allclose(together[2, 3], alone[0])


def test_two_equal_columns_do_not_stop_it():
    columns = np.stack([np.ones(6), np.ones(6), np.arange(6.0)], axis=1)
    target = 2 + 3 * np.arange(6.0)
    found, squares = solve_nonnegative((columns.T @ columns)[None], (columns.T @ target)[None], float(target @ target))
    assert abs(found[0, 0] + found[0, 1] - 2) < 1e-4, found
    assert squares[0] < 1e-6
