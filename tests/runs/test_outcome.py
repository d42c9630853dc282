"""Forecasts beside actual values, and how good they were; curves and numbers as people read them."""

from __future__ import annotations

import math
import re

import pytest
from fake_run import forecast, run_records
from hypothesis import given
from hypothesis import strategies as st

from headwater.cli.progress import against_forecast
from headwater.core.numbers import count, count_in_words, decimal, flop_rate, moment, percent, size
from headwater.machine.host.energy import MEASURED
from headwater.page.picture.charts_of_run import memory_peaks
from headwater.runs.outcome import outcomes
from headwater.runs.run_data import History, points, smooth, thin

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


def test_an_energy_that_is_assumed_from_the_time_is_not_counted():
    assumed = by_name(forecast(), FINISH, VALIDATION)["training energy"]
    measured = by_name(forecast(), FINISH | {"energy_how": MEASURED}, VALIDATION)["training energy"]
    assert not assumed.is_counted
    assert measured.is_counted


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
    assert found["training time"].is_counted
    assert ("1.4 of the 2 CPUs" in found["training time"].how) is isinstance(beside, str)
    assert ("under load" in against_forecast(found["training time"])) is isinstance(beside, str)
    assert not found["memory"].is_disturbed


curves = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400).map(
    lambda ys: [(float(x), y) for x, y in enumerate(ys)]
)


@given(curves, st.integers(4, 60))
def test_thinning_keeps_both_ends_the_extremes_and_the_order(curve, max_points):
    kept = thin(curve, max_points)
    assert len(kept) <= max(max_points, 4)
    assert kept[0] == curve[0] and kept[-1] == curve[-1]
    assert kept == sorted(set(kept)) and set(kept) <= set(curve)
    assert {min(y for _, y in curve), max(y for _, y in curve)} <= {y for _, y in kept}


@given(curves)
def test_smoothing_is_the_mean_of_the_window_at_every_point(curve):
    ys = [y for _, y in curve]
    for rank, (x, mean) in enumerate(smooth(curve)):
        reach = int(0.05 * rank)
        window = ys[rank - reach : rank + reach + 1]
        assert (x, mean) == (curve[rank][0], pytest.approx(sum(window) / len(window), rel=1e-6, abs=1e-3))


def test_records_without_a_finite_number_are_left_out():
    records = [{"x": 1, "y": 2.5}, {"x": 2}, {"x": 3, "y": float("nan")}, {"x": 4, "y": "5"}, {"x": 5, "y": True}]
    assert points(records, "x", "y") == [(1.0, 2.5)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (count(0), "0"),
        (count(999), "999"),
        (count(14_745_600), "14.7M"),
        (count(999_960), "1.00M"),
        (count(None), "–"),
        (count_in_words(7_162), "7,162"),
        (count_in_words(5_312_768), "5.31 million"),
        (count_in_words(1e12), "1.00 trillion"),
        (size(0), "0 B"),
        (size(4_332_000), "4.33 MB"),
        (flop_rate(412e9), "412 GFLOP/s"),
        (percent(0.196), "19.6 %"),
        (percent(1.0), "100 %"),
        (decimal(1.3127), "1.313"),
        (moment(None), "–"),
        (moment(1e30), "–"),
        (moment(0), "1970-01-01 00:00 UTC"),
    ],
)
def test_numbers_are_written_as_people_read_them(shown, expected):
    assert shown.replace("\u00a0", " ") == expected


NUMBERS = (
    st.floats(1, 999e12) | st.integers(1, 999 * 10**12) | st.integers(0, 14).map(lambda power: 9.995 * 10.0**power)
)


@given(NUMBERS)
@pytest.mark.parametrize(("shown", "units"), [(count, "|k|M|B|T"), (size, "B|kB|MB|GB|TB"), (flop_rate, "|k|M|G|T")])
def test_a_number_of_any_size_has_one_unit_and_three_significant_digits(shown, units, value):
    text = shown(value).removesuffix("FLOP/s")
    digits, unit = re.fullmatch(rf"([0-9.]+)\u00a0?({units})", text).groups()
    assert float(digits) * 1000 ** units.split("|").index(unit) == pytest.approx(value, rel=0.0051), text
    assert float(digits) < 1000, text
    assert len(digits.replace(".", "")) == 3 or (float(digits) == value < 1000), text


def test_a_peak_of_memory_stays_where_another_attempt_holds_less(tmp_path):
    peaks = {10: 0.5, 20: 0.9, 30: 0.7}
    saves = [{"event": "checkpoint", "step": step, "peak_memory_bytes": peak * 1e9} for step, peak in peaks.items()]
    log = History(tmp_path / "records.jsonl")
    for record in [*saves, {"event": "step", "step": 30, "tokens_seen": 3000}]:
        log.take(record)
    assert memory_peaks(log) == [(1000, 0.5), (2000, 0.9), (3000, 0.9)]
