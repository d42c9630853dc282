"""Tables that carry no law are known from those that do, noisy and small ones too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known_laws import isoflop_runs, ladder_runs

from headwater.scaling.absence import no_law
from headwater.scaling.fit import fit_law
from headwater.scaling.forecast import Forecaster
from headwater.scaling.profile import profiles
from headwater.scaling.refusal import forecast_refusal, table_warnings
from headwater.scaling.table import Runs

GRID = ladder_runs([1e7, 3e7, 1e8, 3e8], [5.0, 20.0, 80.0])


def with_loss(loss: object) -> Runs:
    return replace(GRID, loss=np.broadcast_to(np.asarray(loss, dtype=np.float64), GRID.loss.shape).copy())


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (2.5, "the losses are all 2.5"),
        (2.5 + 1e-4 * np.arange(12), "the losses only go from 2.5 to 2.5011"),
        (2 + 0.05 * np.log(GRID.flops / 1e15), "the larger run has the higher loss"),
        (1 / GRID.loss, "the larger run has the higher loss"),
    ],
)
def test_losses_that_stay_or_rise_are_refused(loss, says):
    runs = with_loss(loss)
    assert says in no_law(runs)
    assert says in forecast_refusal(runs, 1e9, 2e10)


def test_losses_without_any_order_are_refused():
    runs = isoflop_runs()
    shuffled = replace(runs, loss=np.random.default_rng(3).permutation(runs.loss))
    assert "don't fall with size" in no_law(shuffled)


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.02])
@pytest.mark.parametrize("seed", range(4))
def test_a_law_with_noise_is_a_law(noise, seed):
    assert no_law(isoflop_runs(noise=noise, seed=seed)) is None
    assert no_law(isoflop_runs(noise=noise, budgets=2, sizes=4, seed=seed)) is None


def test_one_curve_of_equal_compute_has_no_larger_and_smaller_runs_and_is_not_refused():
    assert no_law(isoflop_runs(budgets=1, sizes=9)) is None


def test_a_table_of_thousands_is_read_in_part_and_still_known():
    sizes = np.geomspace(1e7, 1e9, 60)
    runs = ladder_runs(sizes.tolist(), np.geomspace(5, 300, 60).tolist())
    assert no_law(runs) is None
    assert no_law(replace(runs, loss=runs.loss[::-1].copy())) is not None


def test_a_table_without_a_law_gets_that_warning_alone():
    runs = with_loss(2.5)
    law, posterior = fit_law(runs), Forecaster(runs).posterior
    assert [each.code for each in table_warnings(runs, law, posterior, profiles(posterior, law))] == ["no_law"]


def test_a_term_that_is_missing_is_named():
    runs = with_loss(2 + 400 * GRID.params**-0.33)
    law, posterior = fit_law(runs), Forecaster(runs).posterior
    said = {each.code: each.says for each in table_warnings(runs, law, posterior, profiles(posterior, law))}
    assert "no place for a term of tokens (B)" in said["missing_term"]
