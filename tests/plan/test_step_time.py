"""A step's time by all that is known of it, against sums and sampling that know no algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.plan.processor import constants
from headwater.plan.step_time import AT_ODDS, DRIFT, DRIFT_SECONDS, Seen, drift, of_this_machine, usual_ratio


@pytest.mark.parametrize("seconds", [1.0, 30.0, 150.0, 3600.0])
def test_drift_is_the_spread_of_the_mean_of_a_wandering_pace(seconds):
    at = (np.arange(2000) + 0.5) * seconds / 2000
    likeness = np.exp(-np.abs(at[:, None] - at[None, :]) / DRIFT_SECONDS)
    assert drift(seconds) == pytest.approx(DRIFT * math.sqrt(likeness.mean()), rel=1e-4)


def test_a_moment_has_all_of_the_drift_and_hours_average_it_out():
    assert drift(1e-6) == DRIFT
    assert drift(4 * 36000) == pytest.approx(drift(36000) / 2, rel=0.01)


def weighed(shape: str, seen: list[Seen]) -> tuple[float, float]:
    """Return mean and deviation of the log ratio of a shape, by sampling machines and shapes and weighing them."""
    generator, spread = np.random.default_rng(1), constants()["log_deviation"]
    machine = spread["step"] * generator.standard_normal(4_000_000)
    names = sorted({shape, *(each.shape for each in seen)})
    shapes = {name: spread["step_shape"] * generator.standard_normal(len(machine)) for name in names}
    off = sum(((each.log_ratio - machine - shapes[each.shape]) / each.log_deviation) ** 2 for each in seen)
    weights = np.exp(-0.5 * off)
    wanted = machine + shapes[shape]
    mean = np.average(wanted, weights=weights)
    return float(mean), float(np.sqrt(np.average((wanted - mean) ** 2, weights=weights)))


@pytest.mark.parametrize(
    "seen",
    [
        [Seen(0.1, 0.08, "own")],
        [Seen(0.1, 0.08, "other")],
        [Seen(0.15, 0.08, "own"), Seen(0.05, 0.05, "own"), Seen(-0.02, 0.06, "other"), Seen(0.0, 0.06, "other")],
    ],
)
def test_measurements_count_by_how_sure_they_are(seen):
    found = usual_ratio("own", seen)
    mean, deviation = weighed("own", seen)
    assert math.log(found.median) == pytest.approx(mean, abs=0.002)
    assert found.log_deviation == pytest.approx(deviation, abs=0.002)


def test_without_measurements_the_model_is_all_there_is():
    spread = constants()["log_deviation"]
    found = usual_ratio("own", [])
    assert found.median == 1.0
    assert found.log_deviation == pytest.approx(math.hypot(spread["step"], spread["step_shape"]))


def test_a_model_that_is_far_off_counts_for_little():
    found = usual_ratio("own", [Seen(math.log(20.0), 0.06, "own")])
    assert found.median == pytest.approx(20.0, rel=0.005)


def test_each_further_run_makes_the_next_forecast_surer():
    spreads = [usual_ratio("own", [Seen(0.0, 0.05, "own")] * number).log_deviation for number in range(5)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[4] == pytest.approx(0.05 / 2, rel=0.05)


def test_what_disagrees_with_the_newest_is_of_another_machine():
    newest, reach = Seen(0.0, 0.06, "own"), AT_ODDS * math.hypot(0.06, 0.05)
    near, far = Seen(0.95 * reach, 0.05, "own"), Seen(-1.05 * reach, 0.05, "own")
    assert of_this_machine(newest, [near, far]) == [near]
    assert of_this_machine(newest, [Seen(1.05 * reach, 0.05, "other")]), "another shape may be off by itself"
