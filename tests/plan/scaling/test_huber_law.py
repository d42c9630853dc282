"""The law as the literature fits it, and its solution at exponents of a grid."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from known_laws import isoflop_runs, runs_of
from scipy.optimize import nnls

from headwater.plan.scaling.law import GREATEST_EXPONENT, HUBER_DELTA, LEAST_EXPONENT, fit_law, solve_nonnegative

CHINCHILLA = Path(__file__).parents[3] / "benchmarks" / "data" / "scaling" / "chinchilla_approach3_svg.csv"


@pytest.fixture(scope="module")
def chinchilla():
    with CHINCHILLA.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ([float(row[name]) for row in rows] for name in ("N", "D_tokens_C_over_6N", "loss"))
    return runs_of(*columns)


def test_reproduces_the_replication_of_chinchilla(chinchilla):
    law = fit_law(chinchilla.where(np.argsort(chinchilla.loss, kind="stable")[:-5]))
    # the optimum of a grid of 4500 BFGS starts on the same 240 points; arXiv:2404.10102's own grid agrees to 4 digits
    expected = {
        "A": (477.826, 0.1),
        "B": (2143.42, 2),
        "E": (1.817218, 1e-4),
        "alpha": (0.347310, 1e-4),
        "beta": (0.367172, 1e-4),
    }
    for name, (value, tolerance) in expected.items():
        assert getattr(law, name) == pytest.approx(value, abs=tolerance), name
    assert law.objective * 240 == pytest.approx(1.018274018e-3, rel=1e-6)


def test_the_five_highest_losses_change_beta_as_published(chinchilla):
    law = fit_law(chinchilla)
    assert (law.B, law.beta) == pytest.approx((12846, 0.453), rel=2e-3)


TOKENS_OF_8 = [1.7457e7, 3.7482e7, 7.8390e7, 1.6614e8, 2.7567e8, 5.1506e8, 9.0754e8, 1.7824e9]


def test_eight_runs_give_the_law_of_the_least_objective_of_many_starts():
    loss = [15.6141, 7.82335, 4.0618, 2.22885, 1.34251, 0.898887, 0.671638, 0.546310]
    law = fit_law(runs_of(np.geomspace(1e6, 1e8, 8), TOKENS_OF_8, loss))
    assert law.objective < 1.3e-7, "2.5e-6 from the best minimum"


def test_no_nearby_law_is_better():
    runs = isoflop_runs(noise=0.003)
    law = fit_law(runs)

    def objective(scale):
        names = ("E", "A", "B", "alpha", "beta")
        E, A, B, alpha, beta = (getattr(law, name) * factor for name, factor in zip(names, scale))
        error = np.abs(np.log((E + A * runs.params**-alpha + B * runs.tokens**-beta) / runs.loss))
        return np.where(error <= HUBER_DELTA, error**2 / 2, HUBER_DELTA * (error - HUBER_DELTA / 2)).mean()

    chance = np.random.default_rng(0)
    for size in (1e-2, 1e-3, 1e-4):
        for _ in range(100):
            assert objective(1 + size * chance.standard_normal(5)) >= law.objective - 1e-15


@pytest.mark.parametrize(("growth", "drop"), [(1.1, 1), (1.3, 2), (3.0, 1)])
def test_a_step_in_loss_gives_a_finite_law_with_exponents_in_their_range(growth, drop):
    params = np.repeat(1e10 * growth ** np.arange(8.0), 2)
    tokens = params * np.tile([20.0, 80.0], 8)
    loss = np.where(np.arange(16) >= 2 * drop, 3.0, 4.0)
    law = fit_law(runs_of(params, tokens, loss))
    assert min(law.alpha, law.beta) >= LEAST_EXPONENT
    assert max(law.alpha, law.beta) <= GREATEST_EXPONENT
    assert np.isfinite([law.E, law.A, law.B, law.objective]).all()
    flat = HUBER_DELTA * (np.log(4 / 3) - HUBER_DELTA / 2) * 2 * drop / 16  # of loss = 3 throughout
    assert law.objective < flat


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
