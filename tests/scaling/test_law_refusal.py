"""What rows can't carry is said or refused, and what they can isn't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from known_laws import TRUE, isoflop_runs, ladder_runs

from headwater.scaling.fit import fit_law
from headwater.scaling.forecast import Forecaster
from headwater.scaling.frontier import optimal_params, optimum
from headwater.scaling.posterior import Posterior
from headwater.scaling.prior import published_prior
from headwater.scaling.profile import DROP_90, profiles
from headwater.scaling.refusal import (
    forecast_refusal,
    forecast_warnings,
    optimum_refusal,
    table_warnings,
)
from headwater.scaling.table import Runs


def codes(runs: Runs) -> set[str]:
    law, posterior = fit_law(runs), Forecaster(runs).posterior
    return {warning.code for warning in table_warnings(runs, law, posterior, profiles(posterior, law))}


def refusal(runs: Runs, flops: float) -> str | None:
    posterior = Forecaster(runs).posterior
    return optimum_refusal(runs, profiles(posterior, fit_law(runs)), optimum(posterior, flops))


def test_a_good_design_gets_no_warning_and_its_optimum_is_right():
    runs = isoflop_runs(noise=0.001)
    assert codes(runs) == set()
    assert refusal(runs, 1e20) is None
    found = optimum(Forecaster(runs).posterior, 1e20)
    truth = optimal_params(TRUE, 1e20)
    assert found.params_p5 < truth < found.params_p95
    assert found.params * found.tokens * 6 == pytest.approx(1e20)


def test_the_closed_optimum_is_the_lowest_of_the_isoflop_curve():
    sizes = np.exp(np.linspace(np.log(1e8), np.log(1e10), 20001))
    losses = TRUE.loss(sizes, 1e20 / (6 * sizes))
    assert optimal_params(TRUE, 1e20) == pytest.approx(sizes[losses.argmin()], rel=1e-3)


def test_two_sizes_of_model_are_too_few_for_an_optimum():
    runs = ladder_runs([1e7, 4e7], [5.0, 20.0, 80.0, 320.0])
    assert "few_params" in codes(runs)
    assert "only 2 different params" in refusal(runs, 1e18)


def test_one_ratio_of_tokens_to_params_cannot_tell_the_terms_apart():
    runs = ladder_runs([1e7, 2e7, 4e7, 8e7, 1.6e8, 3.2e8, 6.4e8], [20.0], noise=0.002)
    found = codes(runs)
    assert "narrow_ratio" in found
    assert {"unidentified_alpha", "unidentified_beta"} & found


def test_an_optimum_on_a_side_no_run_shows_is_refused():
    # all runs are far past the optimum of about 15 tokens per parameter
    runs = ladder_runs([1e7, 3e7, 1e8, 3e8, 1e9], [300.0, 600.0, 1200.0, 2400.0])
    assert refusal(runs, 1e20) is not None


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


def test_a_size_a_little_outside_the_rows_gets_a_number_and_a_warning():
    runs = ladder_runs([1e7, 3e7, 1e8], [5.0, 20.0, 80.0, 320.0, 1280.0])
    assert forecast_refusal(runs, 2e9, 1e9) is None
    assert "1.3 decades above all rows in params" in forecast_warnings(runs, 2e9, 1e9)[0].says
    assert forecast_refusal(runs, 2e10, 1e9) is not None


def test_below_the_rows_there_is_no_number_beyond_a_decade_however_many_they_span():
    runs = ladder_runs([1e6, 1e7, 1e8, 1e9, 1e10], [5.0, 20.0, 80.0])
    assert forecast_refusal(runs, 2e5, 4e6) is None
    assert "rises without a ceiling" in forecast_warnings(runs, 2e5, 4e6)[0].says
    assert "1.3 decades below all rows in params" in forecast_refusal(runs, 5e4, 4e6)


def test_another_shape_than_the_rows_is_warned_of():
    runs = isoflop_runs()
    assert [warning.code for warning in forecast_warnings(runs, 2e7, 1e12)] == ["other_shape"]


def test_one_size_of_model_says_nothing_of_others():
    runs = ladder_runs([1e8], [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0])
    assert "all rows have the same params" in forecast_refusal(runs, 1e9, 2e10)
    assert forecast_refusal(runs, 1e8, 5e10) is None


def test_the_profile_mostly_holds_the_truth_and_is_wider_with_fewer_runs():
    widths, held = {8: [], 3: []}, []
    for seed in range(8):
        for budgets, sizes in ((8, 15), (3, 5)):
            runs = isoflop_runs(noise=0.003, budgets=budgets, sizes=sizes, seed=seed)
            alpha, _ = profiles(Posterior(runs, published_prior()), fit_law(runs))
            widths[budgets].append(alpha.high / alpha.low)
            held.append(alpha.low < TRUE.alpha < alpha.high)
    assert np.mean(held) >= 0.8
    assert np.mean(widths[8]) < np.mean(widths[3])


@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-6, 1e-4, 1e-2])
def test_the_interval_of_an_exponent_of_a_clean_law_holds_its_estimate_and_its_curve_is_drawn(noise):
    """On the grid alone, tables of less noise than its step have one point of a curve, and an interval beside it."""
    runs = isoflop_runs(noise=noise, seed=1)
    law = fit_law(runs)
    for estimate, profile in zip((law.alpha, law.beta), profiles(Forecaster(runs).posterior, law)):
        drawn = profile.log_likelihood > -DROP_90
        assert profile.holds_law, (profile.low, estimate, profile.high)
        assert profile.low < profile.top < profile.high
        assert profile.top == profile.exponents[profile.log_likelihood.argmax()]
        assert drawn.sum() >= 9, f"{drawn.sum()} points within the interval {profile.low} to {profile.high}"


def test_an_interval_is_as_narrow_as_the_noise():
    widths = []
    for noise in (1e-5, 1e-4):
        runs = isoflop_runs(noise=noise)
        alpha, _ = profiles(Forecaster(runs).posterior, fit_law(runs))
        widths.append(alpha.high - alpha.low)
    assert widths[1] / widths[0] == pytest.approx(10, rel=0.3)


def test_an_estimate_off_the_likelihood_is_said_and_moves_no_end_of_the_interval():
    runs = isoflop_runs(noise=1e-4)
    law, posterior = fit_law(runs), Posterior(runs, published_prior())
    elsewhere = replace(law, alpha=0.4)
    both, effect = profiles(posterior, law), profiles(posterior, elsewhere)
    assert (effect[0].low, effect[0].high) == (both[0].low, both[0].high)
    assert effect[0].high < 0.4
    assert "disputed_alpha" not in {warning.code for warning in table_warnings(runs, law, posterior, both)}
    (said,) = [each for each in table_warnings(runs, elsewhere, posterior, effect) if each.code == "disputed_alpha"]
    assert "alpha is 0.4 in the curve, where every run counts for itself" in said.says


def test_an_exponent_is_not_identified_where_two_ways_to_see_it_are_far_apart():
    runs = isoflop_runs(noise=1e-4)
    alpha, _ = profiles(Posterior(runs, published_prior()), replace(fit_law(runs), alpha=1.4))
    assert alpha.is_bounded and not alpha.is_identified
