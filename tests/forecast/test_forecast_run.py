"""The draws: intervals against the normal distribution's own, probabilities against counting by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from headwater.errors import ConfigError
from headwater.forecast.forecast_run import Limits, Outlook, Spread, check_positive, forecast

OUTLOOK = Outlook(
    seconds={"steps": Spread(3600.0, 0.2)},
    watts=Spread(24.0),
    pue=1.5,
    memory_bytes=Spread(2**31, 0.0),
    kg_co2_per_kwh=0.4,
)


def test_quantiles_are_those_of_the_distribution():
    hours = forecast(OUTLOOK, Limits())["hours"]
    assert hours["p50"] == pytest.approx(1, rel=0.01)
    assert hours["p90"] == pytest.approx(math.exp(0.2 * 1.2816), rel=0.01)
    assert hours["p10"] == pytest.approx(math.exp(-0.2 * 1.2816), rel=0.01)


def test_money_and_energy_are_those_of_the_same_hours():
    result = forecast(replace(OUTLOOK, usd_per_hour=Spread(3.0)), Limits())
    for name in ("p10", "p50", "p90"):
        assert result["money"][name] == pytest.approx(3 * result["hours"][name])
        assert result["energy_kwh"][name] == pytest.approx(0.024 * 1.5 * result["hours"][name])


def test_the_same_outlook_gives_the_same_numbers():
    assert forecast(OUTLOOK, Limits()) == forecast(OUTLOOK, Limits())


def test_probabilities_are_parts_of_the_draws():
    known = replace(OUTLOOK, usd_per_hour=Spread(1.0), loss=Spread(3.0, 0.01))
    found = forecast(known, Limits(max_hours=1.0, max_money=1e9, target_loss=2.0, memory_bytes=2**30))
    assert found["probabilities"]["over_max_hours"] == pytest.approx(0.5, abs=0.02)
    assert found["probabilities"]["over_max_money"] == 0
    assert found["probabilities"]["misses_target_loss"] == 1
    assert found["probabilities"]["over_memory"] == 1


def test_what_is_not_known_is_none_and_never_a_number():
    result = forecast(OUTLOOK, Limits(max_money=5.0, target_loss=1.0))
    assert result["money"] is result["loss"] is None
    assert result["probabilities"]["over_max_money"] is result["probabilities"]["misses_target_loss"] is None


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_budget_is_refused(value):
    with pytest.raises(ConfigError, match=r"--max-hours .* above zero"):
        check_positive("--max-hours", value)


def test_training_is_forecast_apart_from_what_its_clock_does_not_count():
    exact = {
        "preparation": 500.0,
        "start": 3.0,
        "steps": 3600.0,
        "validations": 60.0,
        "looks": 30.0,
        "checkpoints": 7.0,
    }
    outlook = replace(OUTLOOK, seconds={name: Spread(value) for name, value in exact.items()} | {"after": Spread(90.0)})
    found = forecast(outlook, Limits())
    assert found["training"]["hours"]["p50"] * 3600 == pytest.approx(3700)
    assert found["hours"]["p50"] * 3600 == pytest.approx(3700 + 500 + 90)
    assert found["training"]["energy_kwh"]["p50"] == pytest.approx(3700 / 3600 * 0.024 * 1.5)
    assert {name: band["p50"] for name, band in found["seconds"].items()} == pytest.approx(exact | {"after": 90.0})
