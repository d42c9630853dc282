"""Facts of a run against what was forecast of it: which fact, which band, which score."""

from __future__ import annotations

import math

import pytest
from fake_run import forecast, run_records

from headwater.cli.progress import against_forecast
from headwater.machine.host.energy import MEASURED
from headwater.runs.outcome import forecast_error, outcomes

RECORDS = run_records(40)
FINISH = RECORDS[-1]
VALIDATION = [record for record in RECORDS if record["event"] == "validation"][-1]


def by_name(*arguments):
    return {outcome.quantity: outcome for outcome in outcomes(*arguments, {})}


def test_each_fact_is_held_against_its_own_forecast():
    found = by_name(forecast(), FINISH, VALIDATION)
    assert (found["training time"].p50, found["training time"].fact) == (0.15 * 3600, 506.4)
    assert (found["held-out loss"].p50, found["held-out loss"].fact) == (1.18, VALIDATION["bits_per_byte"]["all"])
    assert (found["memory"].p50, found["memory"].fact) == (1.0, 1.25)
    assert (found["training energy"].p50, found["training energy"].fact) == (10.0, 9.6)
    assert found["training time"].error == pytest.approx(506.4 / 540 - 1)
    assert [found[name].is_inside for name in ("training time", "memory")] == [True, False]


def test_an_evaluation_comes_before_the_last_validation():
    whole = {"bits_per_byte": {"all": 1.3}, "loss": {"all": 3.0}}
    found = {outcome.quantity: outcome for outcome in outcomes(forecast(), FINISH, VALIDATION, whole)}
    assert found["held-out loss"].fact == 1.3


def test_a_loss_in_nats_is_held_against_the_loss_in_nats():
    found = by_name(forecast() | {"loss_unit": "nats_per_token"}, FINISH, VALIDATION)
    assert found["held-out loss"].fact == VALIDATION["loss"]["all"]


def test_an_energy_that_is_assumed_from_the_time_is_not_counted():
    assumed = by_name(forecast(), FINISH, VALIDATION)["training energy"]
    measured = by_name(forecast(), FINISH | {"energy_how": MEASURED}, VALIDATION)["training energy"]
    assert assumed.score is None
    assert measured.score is not None


def test_the_forecast_error_is_of_what_was_measured():
    sure = {"hours": {"p10": 0.1, "p50": 0.1, "p90": 0.1}}
    found = outcomes({"training": sure}, {"seconds": 378.0}, {}, {})
    assert forecast_error(found) == pytest.approx(math.log(1.05))
    assert forecast_error(outcomes(forecast(), {}, VALIDATION, {})) is None


def test_a_run_in_progress_has_no_facts():
    assert all(outcome.fact is None for outcome in outcomes(forecast(), {}, VALIDATION, {}))


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"loss": {"p10": 2, "p50": 1, "p90": 3}, "loss_unit": "bits_per_byte"},
        {"loss": {"p10": 1, "p50": 2, "p90": 3}, "loss_unit": ["bits_per_byte"]},
        {"training": {"hours": {"p10": -1, "p50": 1, "p90": 2}}, "memory_gb": [1, 2]},
        {"training": {"hours": {"p10": 0, "p50": math.nan, "p90": math.inf}}, "memory_gb": None},
    ],
)
def test_what_is_no_forecast_has_no_outcome(odd):
    assert outcomes(odd, FINISH, VALIDATION, {}) == []


@pytest.mark.parametrize(("seconds", "says"), [(378, "outside, 30.0% under"), (10_440, "outside, × 19 the forecast")])
def test_what_is_far_off_is_said_as_a_factor(seconds, says):
    found = by_name(forecast(), FINISH | {"seconds": seconds}, VALIDATION)
    assert against_forecast(found["training time"]).endswith(says)


@pytest.mark.parametrize("beside", ["1.4 of the 2 CPUs here are busy", None, 7])
def test_a_time_under_load_is_marked_and_counts(beside):
    found = by_name(forecast(), FINISH | {"beside": beside}, VALIDATION)
    assert found["training time"].is_disturbed is isinstance(beside, str)
    assert found["training time"].score is not None
    assert ("1.4 of the 2 CPUs" in found["training time"].how) is isinstance(beside, str)
    assert ("under load" in against_forecast(found["training time"])) is isinstance(beside, str)
    assert not found["memory"].is_disturbed
