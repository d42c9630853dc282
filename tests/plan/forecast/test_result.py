"""The draws: intervals against the normal distribution's own, probabilities against counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from headwater.plan.forecast.result import (
    Band,
    DeviceGroup,
    FromBase,
    LossOutlook,
    RunLimits,
    Spread,
    forecast,
    mean_bits,
)

HERE = DeviceGroup("this", "", Spread(24.0), "", "", memory_limit=2**40, pue=1.5, kg_co2_per_kwh=0.4)
NO_LIMITS = RunLimits()


def found_of(limits=NO_LIMITS, seconds=None, loss=None, deviation=0.2, **changed):
    """Return the forecast of an hour of steps, of other parts, or on another machine."""
    devices, memory, loss = replace(HERE, **changed), Spread(2**31, 0.0), loss or LossOutlook(None, "")
    return forecast(seconds or {"steps": Spread(3600.0)}, deviation, memory, loss, devices, limits, {})


def test_parts_share_the_machines_speed_so_that_their_sum_is_as_unsure_as_each():
    names = ("steps", "validations", "probes", "after")
    whole, found = found_of().hours, found_of(seconds=dict.fromkeys(names, Spread(900.0))).hours
    assert found.p90 / found.p10 == pytest.approx(whole.p90 / whole.p10, rel=0.01)
    independent = found_of(seconds=dict.fromkeys(names, Spread(900.0, 0.2)), deviation=0.0).hours
    assert math.log(independent.p90 / independent.p10) == pytest.approx(math.log(whole.p90 / whole.p10) / 2, rel=0.05)


def test_money_and_energy_are_those_of_the_same_hours():
    found = found_of(usd_per_hour=Spread(3.0))
    for name in ("p10", "p50", "p90"):
        hours = getattr(found.hours, name)
        assert getattr(found.money, name) == pytest.approx(3 * hours)
        assert getattr(found.energy_kwh, name) == pytest.approx(0.024 * 1.5 * hours)


def test_probabilities_are_parts_of_the_draws():
    limits = RunLimits(max_hours=1.0, max_money=1e9, target_loss=2.0, memory_bytes=2**30)
    found = found_of(limits, loss=LossOutlook(Spread(3.0, 0.01), ""), usd_per_hour=Spread(1.0)).probabilities
    assert found["over_max_hours"] == pytest.approx(0.5, abs=0.02)
    assert (found["over_max_money"], found["misses_target_loss"], found["over_memory"]) == (0, 1, 1)


def test_what_is_not_known_is_none_and_never_a_number():
    found = found_of(RunLimits(max_money=5.0, target_loss=1.0))
    assert found.money is found.loss is None
    assert found.probabilities["over_max_money"] is found.probabilities["misses_target_loss"] is None


def test_training_is_forecast_apart_from_what_its_clock_does_not_count():
    exact = {"preparation": 500.0, "start": 3.0, "steps": 3600.0, "validations": 60.0, "probes": 30.0, "after": 90.0}
    found = found_of(seconds={name: Spread(value) for name, value in exact.items()})
    assert found.training["hours"].p50 * 3600 == pytest.approx(3693, rel=0.01)
    assert found.hours.p50 * 3600 == pytest.approx(3693 + 500 + 90, rel=0.01)
    assert found.training["energy_kwh"].p50 == pytest.approx(3693 / 3600 * 0.024 * 1.5, rel=0.01)
    assert {name: band.p50 for name, band in found.seconds.items()} == pytest.approx(exact, rel=0.01)


def test_a_run_from_a_base_has_two_losses_and_the_target_is_of_its_new_text():
    losses = FromBase(Band(2.9, 3.0, 3.1), None, None, {})
    found = found_of(RunLimits(target_loss=2.0), loss=LossOutlook(Spread(3.0, 0.01), "two losses", from_base=losses))
    assert (found.loss, found.from_base, found.how["loss"]) == (None, losses, "two losses")
    assert found.probabilities["misses_target_loss"] == pytest.approx(1)


def test_new_and_replayed_sources_have_a_mean_each():
    bits = {"all": 9.0, "mine": 2.0, "other": 3.0, "replay-mine": 1.0}
    assert (mean_bits(bits, False), mean_bits(bits, True), mean_bits({"all": 1.0}, True)) == (2.5, 1.0, None)
