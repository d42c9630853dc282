"""The back-test of schedules: what it knows of the published runs, what it hides, and that the package holds its fit."""

from __future__ import annotations

import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import schedule_backtest as backtest
from headwater.scaling.schedule import FITTED, UNSURE


@pytest.fixture(scope="module")
def curves():
    return backtest.curves()


def test_the_published_schedules_are_those_of_the_rows(curves):
    rows = backtest.csv_rows()
    assert len(curves) == 27
    for row in rows:
        factor = backtest.lr_factors(row["schedule"], np.array([float(row["step"])]))[0]
        assert factor == pytest.approx(float(row["lr_factor"]), abs=1e-4), row


def test_nothing_is_fitted_on_the_size_or_the_kinds_that_are_forecast(curves):
    hidden = {
        key: replace(curve, losses=np.full_like(curve.losses, np.nan))
        for key, curve in curves.items()
        if curve.size == 100 or curve.kind in ("cosine", "linear")
    }
    open_, blind = (backtest.facts(found, 100, {"cosine", "linear"}) for found in (curves, curves | hidden))
    assert len(blind.log_ratios) > 50
    assert np.array_equal(blind.log_ratios, open_.log_ratios)
    assert np.array_equal(blind.factors_FS, open_.factors_FS)


def test_every_curve_counts_alike(curves):
    known = backtest.facts(curves, None, set())
    num_curves = sum(curve.kind != "constant" for curve in curves.values())
    assert (known.weights**2).sum() == pytest.approx(num_curves)


def test_a_law_that_made_the_losses_is_found_again(curves):
    truth = replace(FITTED, progress=0.12, noise=0.03)
    made = {}
    for key, curve in curves.items():
        level = [float(truth.level(backtest.shares_of(curve.schedule, step))) for step in curve.steps]
        made[key] = replace(curve, losses=np.array(level))
    found = backtest.fit(backtest.facts(made, 25, {"linear"}))
    moves = [
        backtest.move(
            *(backtest.shares_of(f"{name}_20000_24000", 24_000) for name in ("wsdld", "wsd")), 24_000, law
        ).log_ratio
        for law in (found, truth)
    ]
    assert moves[0] == pytest.approx(moves[1], abs=2e-4)


def test_the_package_holds_the_fit_to_all_curves(curves):
    assert astuple(backtest.fit(backtest.facts(curves, None, set()))) == pytest.approx(astuple(FITTED), rel=0.02)


def test_the_least_uncertainty_that_holds_nine_of_ten():
    pairs = [backtest.Scored(25, "a", "b", 0.01 * place, 0.0, UNSURE) for place in range(1, 11)]
    least = backtest.least_unsure(pairs)
    assert sum(pair.is_held(least) for pair in pairs) == 9
    assert sum(pair.is_held(least * 0.999) for pair in pairs) == 8
