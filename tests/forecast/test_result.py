"""The draws: intervals against the normal distribution's own, probabilities against counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from headwater.forecast.result import Inputs, Limits, Spread, forecast

KNOWN = Inputs(
    seconds={"steps": Spread(3600.0)},
    speed_deviation=0.2,
    memory_bytes=Spread(2**31, 0.0),
    watts=Spread(24.0),
    pue=1.5,
    kg_co2_per_kwh=0.4,
    usd_per_hour=None,
    loss=None,
    how={"hours": "as said"},
)


def test_quantiles_are_those_of_the_distribution():
    hours = forecast(KNOWN, Limits()).hours
    assert hours.p50 == pytest.approx(1, rel=0.01)
    assert hours.p90 == pytest.approx(math.exp(0.2 * 1.2816), rel=0.01)
    assert hours.p10 == pytest.approx(math.exp(-0.2 * 1.2816), rel=0.01)


def test_parts_share_the_machines_speed_so_that_their_sum_is_as_unsure_as_each():
    parts = replace(KNOWN, seconds=dict.fromkeys(("steps", "validations", "looks", "after"), Spread(900.0)))
    whole, found = forecast(KNOWN, Limits()).hours, forecast(parts, Limits()).hours
    assert found.p90 / found.p10 == pytest.approx(whole.p90 / whole.p10, rel=0.01)
    alone = replace(parts, speed_deviation=0.0, seconds=dict.fromkeys(parts.seconds, Spread(900.0, 0.2)))
    independent = forecast(alone, Limits()).hours
    assert math.log(independent.p90 / independent.p10) == pytest.approx(math.log(whole.p90 / whole.p10) / 2, rel=0.05)


def test_money_and_energy_are_those_of_the_same_hours():
    found = forecast(replace(KNOWN, usd_per_hour=Spread(3.0)), Limits())
    for name in ("p10", "p50", "p90"):
        hours = getattr(found.hours, name)
        assert getattr(found.money, name) == pytest.approx(3 * hours)
        assert getattr(found.energy_kwh, name) == pytest.approx(0.024 * 1.5 * hours)


def test_the_same_inputs_give_the_same_numbers():
    assert forecast(KNOWN, Limits()) == forecast(KNOWN, Limits())


def test_probabilities_are_parts_of_the_draws():
    known = replace(KNOWN, usd_per_hour=Spread(1.0), loss=Spread(3.0, 0.01))
    limits = Limits(max_hours=1.0, max_money=1e9, target_loss=2.0, memory_bytes=2**30)
    found = forecast(known, limits).probabilities
    assert found["over_max_hours"] == pytest.approx(0.5, abs=0.02)
    assert (found["over_max_money"], found["misses_target_loss"], found["over_memory"]) == (0, 1, 1)


def test_what_is_not_known_is_none_and_never_a_number():
    found = forecast(KNOWN, Limits(max_money=5.0, target_loss=1.0))
    assert found.money is found.loss is None
    assert found.probabilities["over_max_money"] is found.probabilities["misses_target_loss"] is None


def test_training_is_forecast_apart_from_what_its_clock_does_not_count():
    exact = {"preparation": 500.0, "start": 3.0, "steps": 3600.0, "validations": 60.0, "looks": 30.0, "after": 90.0}
    found = forecast(replace(KNOWN, seconds={name: Spread(value) for name, value in exact.items()}), Limits())
    assert found.training["hours"].p50 * 3600 == pytest.approx(3693, rel=0.01)
    assert found.hours.p50 * 3600 == pytest.approx(3693 + 500 + 90, rel=0.01)
    assert found.training["energy_kwh"].p50 == pytest.approx(3693 / 3600 * 0.024 * 1.5, rel=0.01)
    assert {name: band.p50 for name, band in found.seconds.items()} == pytest.approx(exact, rel=0.01)
