"""Failures: intervals against a search for the best one, goodput against simulated runs."""

from __future__ import annotations

import math
import random
from dataclasses import asdict

import pytest

from headwater.errors import ConfigError
from headwater.forecast.failures import (
    Pauses,
    checkpoints,
    daly_interval,
    mean_seconds_between_failures,
    shares,
)


def test_time_between_failures_is_the_published_one():
    hours = mean_seconds_between_failures(16_384) / 3600
    assert hours == pytest.approx(54 * 24 / 419, rel=0.01)  # arXiv:2407.21783: 419 in 54 days


def expected_seconds(interval: float, save: float, restart: float, mtbf: float) -> float:
    """Daly's exact expected wall time for one second of work, failures being a Poisson process (2006, equation 20)."""
    return mtbf * math.exp(restart / mtbf) * (math.exp((interval + save) / mtbf) - 1) / interval


@pytest.mark.parametrize(("save", "mtbf"), [(10.0, 10_000.0), (60.0, 10_000.0), (300.0, 3_000.0)])
def test_dalys_interval_is_the_best_one(save, mtbf):
    found = daly_interval(save, mtbf)
    best = min((found * factor / 100 for factor in range(50, 200)), key=lambda x: expected_seconds(x, save, 100, mtbf))
    assert found == pytest.approx(best, rel=0.02)
    young = math.sqrt(2 * save * mtbf)
    assert expected_seconds(found, save, 100, mtbf) <= expected_seconds(young, save, 100, mtbf)


def test_a_save_longer_than_twice_the_time_between_failures_is_made_after_each():
    assert daly_interval(200, 100) == 100


def simulated(interval: float, pauses: Pauses, mtbf: float, chance: random.Random) -> float:
    """Return useful over elapsed seconds of a long run with random failures."""
    elapsed = useful = 0.0
    until_failure = chance.expovariate(1 / mtbf)
    while useful < 2e7:
        block = interval + pauses.save_seconds
        if until_failure >= block:
            elapsed, useful, until_failure = elapsed + block, useful + interval, until_failure - block
        else:
            elapsed += until_failure + pauses.restart_seconds
            until_failure = chance.expovariate(1 / mtbf)
    return useful / elapsed


@pytest.mark.parametrize("num_devices", [512, 4096, 16_384])
def test_goodput_is_that_of_simulated_runs(num_devices):
    pauses = Pauses(save_seconds=60, restart_seconds=600, evaluation_part=0)
    mtbf = mean_seconds_between_failures(num_devices)
    found = simulated(daly_interval(60, mtbf), pauses, mtbf, random.Random(7))
    assert shares(num_devices, pauses).steps == pytest.approx(found, abs=0.01)


def test_evaluation_takes_its_part():
    without, with_it = (shares(8, Pauses(evaluation_part=part)).steps for part in (0, 0.1))
    assert with_it == pytest.approx(0.9 * without)


def test_a_run_that_fails_faster_than_it_restarts_never_ends():
    with pytest.raises(ConfigError, match="would never end"):
        checkpoints(10_000_000, Pauses(restart_seconds=3600))


@pytest.mark.parametrize("num_devices", [1, 1000, 10_000_000])
def test_all_time_goes_somewhere(num_devices):
    found = asdict(shares(num_devices, Pauses(restart_seconds=3600)))
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= 0
