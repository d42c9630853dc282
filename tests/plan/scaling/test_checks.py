"""What rows can't carry is said or refused, and what they can isn't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known_laws import TRUE, isoflop_runs, ladder_runs

from headwater.plan.scaling import ScalingLaw
from headwater.plan.scaling.checks import forecast_refusal, forecast_warnings, no_law, table_warnings
from headwater.plan.scaling.table import Runs


def said(runs: Runs) -> dict[str, str]:
    law = ScalingLaw(runs)
    return {warning.code: warning.says for warning in table_warnings(law.posterior, law.exponents)}


def codes(runs: Runs) -> set[str]:
    return set(said(runs))


def test_a_good_design_gets_no_warning_and_its_optimum_is_right():
    runs = isoflop_runs(noise=0.001)
    assert codes(runs) == set()
    found = ScalingLaw(runs).optimum(1e20)
    assert found.params == pytest.approx(TRUE.optimal_params(1e20), rel=0.03)
    assert found.params_p10 < found.params < found.params_p90
    assert found.params * found.tokens * 6 == pytest.approx(1e20)
    assert found.loss == pytest.approx(TRUE.loss(found.params, found.tokens), rel=0.005)


def test_far_targets_are_warned_of_and_further_ones_refused():
    runs = isoflop_runs(budgets=3)  # one decade, and 1e19 the largest
    assert forecast_warnings(runs, 1e9, 1e10) == []
    assert forecast_refusal(runs, 1e9, 1e10) is None
    assert [warning.code for warning in forecast_warnings(runs, 1e10, 1e11)] == ["far"]
    assert "decades of compute beyond" in forecast_refusal(runs, 1e11, 2e12)


@pytest.mark.parametrize(
    ("params", "tokens", "says"),
    [
        (1e11, 2e8, "3.0 decades above all rows in params and the rows span 1.0: add runs with more params"),
        (1e4, 2e9, "3.0 decades below all rows in params and the rows span 1.0: add runs with fewer params"),
        (1e7, 1e15, "5.1 decades above all rows in tokens and the rows span 2.2: add runs with more tokens"),
        (1e8, 1e3, "4.7 decades below all rows in tokens and the rows span 2.2: add runs with fewer tokens"),
    ],
)
def test_a_size_far_outside_the_rows_is_refused_whatever_its_compute(params, tokens, says):
    runs = ladder_runs([1e7, 3e7, 1e8], [5.0, 20.0, 80.0])
    assert says in forecast_refusal(runs, params, tokens)


GRID = ladder_runs([1e7, 3e7, 1e8, 3e8], [5.0, 20.0, 80.0])


def with_loss(loss: object) -> Runs:
    return replace(GRID, loss=np.broadcast_to(np.asarray(loss, dtype=np.float64), GRID.loss.shape).copy())


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (2.5, "the losses only go from 2.5 to 2.5, and"),
        (2.5 + 1e-4 * np.arange(12), "the losses only go from 2.5 to 2.5011"),
        (2 + 0.05 * np.log(GRID.flops / 1e15), "the larger run has the higher loss"),
        (1 / GRID.loss, "the larger run has the higher loss"),
    ],
)
def test_losses_that_stay_or_rise_are_refused(loss, says):
    runs = with_loss(loss)
    assert says in no_law(runs)
    assert says in forecast_refusal(runs, 1e9, 2e10)


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("seed", range(2))
def test_a_law_with_noise_is_a_law(noise, seed):
    assert no_law(isoflop_runs(noise=noise, seed=seed)) is None
    assert no_law(isoflop_runs(noise=noise, budgets=2, sizes=4, seed=seed)) is None
