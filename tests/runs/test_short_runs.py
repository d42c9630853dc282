from __future__ import annotations

import math

import pytest

from headwater.core.intervals import Z_P90
from headwater.plan.loss_outlook import new_text_after, old_text_after

SHORT = [1e6, 2e6, 4e6]


def test_new_text_falls_on_along_the_line_of_the_last_two_runs():
    found = new_text_after(16e6, SHORT, [9.0, 2.0, 1.9])
    assert found.median == pytest.approx(1.7)
    assert found.log_deviation == pytest.approx(math.hypot(0.02, 0.15 * math.log(1.7 / 1.9)))


def test_old_text_follows_the_power_law_of_all_three_upwards_and_downwards():
    for exponent in (0.1, -0.02):
        bits = [1.5 * (tokens / 1e6) ** exponent for tokens in SHORT]
        assert old_text_after(16e6, SHORT, bits).median == pytest.approx(1.5 * 16**exponent)


def test_a_line_that_falls_steeply_never_comes_to_nothing():
    assert new_text_after(16e6, SHORT, [9.0, 7.0, 2.0]).median == 1.0


@pytest.mark.parametrize(
    ("law", "bits", "actual"),
    [  # articles and code with seed 1: docs/log.md, 2026-11-29
        (new_text_after, [2.4299, 2.2168, 1.9961], 1.5307),
        (new_text_after, [3.3533, 2.8033, 2.5703], 2.1336),
        (old_text_after, [1.9211, 2.0207, 2.1450], 2.4383),
        (old_text_after, [2.0850, 2.2019, 2.3771], 2.7211),
    ],
)
def test_runs_that_were_measured_lie_inside_their_intervals_and_far_from_the_last_short_run(law, bits, actual):
    found = law(262144.0, [16384.0, 32768.0, 65536.0], bits)
    assert abs(math.log(actual / found.median)) < Z_P90 * found.log_deviation < abs(math.log(actual / bits[-1])) / 2
