"""A step's time by all that is known of it, against sums and sampling that know no algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.plan.processor import constants
from headwater.plan.step_time import (
    AT_ODDS,
    DRIFT,
    DRIFT_SECONDS,
    Seen,
    drift,
    newest_that_is_shared,
    of_this_machine,
    usual_ratio,
)


@pytest.mark.parametrize("seconds", [1.0, 30.0, 150.0, 3600.0])
def test_drift_is_the_spread_of_the_mean_of_a_wandering_pace(seconds):
    at = (np.arange(2000) + 0.5) * seconds / 2000
    likeness = np.exp(-np.abs(at[:, None] - at[None, :]) / DRIFT_SECONDS)
    assert drift(seconds) == pytest.approx(DRIFT * math.sqrt(likeness.mean()), rel=1e-4)


def test_a_moment_has_all_of_the_drift_and_hours_average_it_out():
    assert drift(1e-6) == DRIFT
    assert drift(4 * 36000) == pytest.approx(drift(36000) / 2, rel=0.01)


DAY = 86400.0


def seen(log_ratio: float, shape: str = "own", day: float = 0.0, seconds: float = 150.0, own: float = 0.0) -> Seen:
    """Return a measurement that ended so many days after the first one could."""
    return Seen(log_ratio, own, shape, day * DAY - seconds, day * DAY)


def weighed(shape: str, all_seen: list[Seen]) -> tuple[float, float]:
    """Return mean and deviation of the log ratio of a shape, by sampling machines and shapes and weighing them."""
    generator, spread = np.random.default_rng(1), constants()["log_deviation"]
    machine = spread["step"] * generator.standard_normal(4_000_000)
    names = sorted({shape, *(one.shape for one in all_seen)})
    shapes = {name: spread["step_shape"] * generator.standard_normal(len(machine)) for name in names}
    off = sum(((one.log_ratio - machine - shapes[one.shape]) / one.deviation) ** 2 for one in all_seen)
    weights = np.exp(-0.5 * off)
    wanted = machine + shapes[shape]
    mean = np.average(wanted, weights=weights)
    return float(mean), float(np.sqrt(np.average((wanted - mean) ** 2, weights=weights)))


@pytest.mark.parametrize(
    "measured",
    [
        [seen(0.1, own=0.05)],
        [seen(0.1, "other", seconds=20.0)],
        [seen(0.15, day=3, seconds=12.0), seen(0.05, day=2), seen(-0.02, "other", day=1), seen(0.0, "other")],
    ],
)
def test_measurements_of_different_days_count_by_how_sure_they_are(measured):
    found = usual_ratio("own", measured)
    mean, deviation = weighed("own", measured)
    assert math.log(found.median) == pytest.approx(mean, abs=0.002)
    assert found.log_deviation == pytest.approx(deviation, abs=0.002)


def test_without_measurements_the_model_is_all_there_is():
    spread = constants()["log_deviation"]
    found = usual_ratio("own", [])
    assert found.median == 1.0
    assert found.log_deviation == pytest.approx(math.hypot(spread["step"], spread["step_shape"]))


def test_a_model_that_is_far_off_counts_for_little():
    assert usual_ratio("own", [seen(math.log(20.0))]).median == pytest.approx(20.0, rel=0.005)


def test_each_further_day_makes_the_next_forecast_surer():
    spreads = [usual_ratio("own", [seen(0.0, day=day) for day in range(num)]).log_deviation for num in range(5)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[4] == pytest.approx(drift(150.0) / 2, rel=0.05)


def test_short_runs_in_a_row_are_one_longer_measurement():
    in_a_row = [Seen(0.0, 0.0, "own", 10.0 * number, 10.0 * (number + 1)) for number in range(30)]
    at_once = [Seen(0.0, 0.0, "own", 0.0, 300.0)]
    apart = [seen(0.0, day=day, seconds=10.0) for day in range(30)]
    row, whole, days = (usual_ratio("own", each).log_deviation for each in (in_a_row, at_once, apart))
    # weighed by what its ends say alone, a row is a little surer than its mean
    assert 0.9 * whole < row <= 1.001 * whole
    assert days < 0.5 * whole


def test_the_same_window_twice_is_no_more_than_once():
    once, twice = (usual_ratio("own", [seen(0.05)] * number) for number in (1, 2))
    assert twice.median == pytest.approx(once.median, rel=1e-4)
    assert twice.log_deviation == pytest.approx(once.log_deviation, rel=1e-3)


def test_what_disagrees_is_of_another_machine():
    reference = seen(0.0, day=9)
    reach = AT_ODDS * math.sqrt(2) * drift(150.0)
    near, far = seen(0.95 * reach), seen(-1.05 * reach)
    assert of_this_machine(reference, [near, far, reference]) == [near, reference]
    assert of_this_machine(reference, [seen(1.05 * reach, "other")]), "another shape may be off by itself"


def test_that_a_machine_has_changed_two_must_say():
    old = [seen(0.0, day=day) for day in range(6)]
    odd, second = seen(0.5, day=8), seen(0.52, day=9)
    assert newest_that_is_shared([*old, odd]) == old[-1]
    assert newest_that_is_shared([*old, odd, second]) == second
    assert newest_that_is_shared([odd]) == odd
    assert newest_that_is_shared([seen(0.0), odd]) == odd, "of two that disagree, the newer"
