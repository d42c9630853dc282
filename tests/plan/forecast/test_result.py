"""The draws: intervals against the normal distribution's own, probabilities against counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from headwater.plan.forecast.result import Band, DeviceGroup, FromBase, LossOutlook, RunLimits, Spread, forecast

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


def test_a_run_from_a_base_has_two_losses_and_the_target_is_of_its_new_text():
    losses = FromBase(Band(2.9, 3.0, 3.1), None, None, {})
    found = found_of(RunLimits(target_loss=2.0), loss=LossOutlook(Spread(3.0, 0.01), "two losses", from_base=losses))
    assert (found.loss, found.from_base, found.how["loss"]) == (None, losses, "two losses")
    assert found.probabilities["misses_target_loss"] == pytest.approx(1)
