"""What the guard takes for an outlier: nothing in real runs, everything that was planted into them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import plan

from headwater.tokens.skipped_rows import Interventions
from headwater.train.incidents import loss_limit, norm_limit, outlier
from headwater.train.settings import TrainSettings
from headwater.train.state import LossHistory

REAL = json.loads((Path(__file__).parent / "real_steps.json").read_text())
ROWS = 4


def settings(**changed) -> TrainSettings:
    return plan(**changed).train


class Guard:
    """A window of the last steps and the settings by which the next one is judged."""

    def __init__(self, **changed) -> None:
        self.settings, self.recent = settings(**changed), LossHistory(0)

    def note(self, loss: float, grad_norm: float) -> None:
        self.recent = self.recent.followed_by(loss, grad_norm, self.settings.guard_window)

    def judge(self, loss: float, grad_norm: float) -> str | None:
        return outlier(self.recent, self.settings, loss, grad_norm)


def guard_after(losses, norms=None, **changed) -> Guard:
    guard = Guard(**changed)
    for number, loss in enumerate(losses):
        guard.note(loss, 1.0 if norms is None else norms[number])
    return guard


def is_outlier(guard: Guard, loss: float, grad_norm: float = 1.0) -> bool:
    return guard.judge(loss, grad_norm) is not None


@pytest.mark.parametrize("name", REAL)
def test_no_step_of_a_real_run_is_refused(name):
    guard = guard_after([])
    refused = []
    for number, (loss, norm) in enumerate(REAL[name]):
        if reason := guard.judge(loss, norm):
            refused.append((number, reason))
        guard.note(loss, norm)
    assert not refused


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("at", [70, 150, 300, 600, 900])
def test_a_spike_planted_into_a_real_run_is_refused(name, at):
    steps = REAL[name]
    if at >= len(steps):
        pytest.skip("the run is shorter")
    losses, norms = ([step[column] for step in steps] for column in (0, 1))
    window = settings().guard_window
    guard = guard_after(losses[max(0, at - window) : at], norms[max(0, at - window) : at])
    assert is_outlier(guard, 2 * losses[at] + 1, norms[at])
    assert is_outlier(guard, losses[at], 30 * norms[at])
    assert not is_outlier(guard, losses[at], norms[at])


CALM, NAN, INF = [5.0] * 128, math.nan, math.inf
JUDGED = [  # the losses before, settings; loss and norm, whether they are refused
    ([5.0] * 63, {}, 500.0, 1.0, False),  # a run begins with nothing to compare with
    ([5.0] * 64, {}, 500.0, 1.0, True),
    *[(losses, {}, *bad, True) for losses in ([], CALM) for bad in [(NAN, 1), (INF, 1), (-INF, 1), (1, NAN), (1, INF)]],
    ([], {"guard_sigmas": None}, NAN, 1.0, True),
    (CALM, {"guard_sigmas": None}, 1e9, 1e9, False),
    (CALM, {}, 0.0, 0.0, False),  # a fall
]


@pytest.mark.parametrize(("losses", "changed", "loss", "norm", "is_refused"), JUDGED)
def test_what_is_no_number_and_what_rises_too_far_is_refused(losses, changed, loss, norm, is_refused):
    assert is_outlier(guard_after(losses, **changed), loss, norm) is is_refused


def test_a_loss_near_0_may_rise_by_a_few_hundredths():
    """A model that has memorised its text: six hundredths of a nat are no spike, whatever the median is."""
    assert loss_limit([0.001] * 128, 6) == pytest.approx(0.061)


def test_a_spike_that_was_taken_does_not_let_the_next_one_pass():
    """A mean and its deviation would: 20 in one value of 128 is 1.6 deviations for the next."""
    calm = [5 + 0.01 * (number % 7) for number in range(127)]
    guard = guard_after([*calm, 100.0])
    assert is_outlier(guard, 100.0)
    assert loss_limit([*calm, 100.0], 8) == pytest.approx(loss_limit(calm, 8), rel=0.01)


def test_other_text_makes_it_forget_what_it_compares_with():
    guard = guard_after([5.0] * 128)
    guard.recent = guard.recent.on(1)
    assert not is_outlier(guard, 50.0)


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=30), st.floats(0.1, 10))
def test_the_limit_of_norms_scales_with_them(values, factor):
    scaled = [factor * value for value in values]
    assert norm_limit(scaled, 6) == pytest.approx(factor * norm_limit(values, 6), rel=1e-9)


def log_of(*skipped_steps: int) -> Interventions:
    log = Interventions([], {})
    for step in skipped_steps:
        log.append("skip", first_row=step * ROWS)
    return log


def test_skipped_steps_count_for_so_many_rows():
    log = log_of(10, 14, 17)
    late = [log.skipped_of_late(steps * ROWS, 8 * ROWS) for steps in (10, 11, 15, 18, 19, 22, 23, 26)]
    assert [[row // ROWS for row in rows] for rows in late] == [
        [], [10], [10, 14], [10, 14, 17], [14, 17], [14, 17], [17], []
    ]  # fmt: skip


def test_what_was_skipped_before_a_rollback_counts_no_more():
    log = log_of(10, 11)
    log.append("rollback", next_row=12 * ROWS)
    assert log.skipped_of_late(12 * ROWS, 8 * ROWS) == []
    assert log.skipped_of_late(11 * ROWS, 8 * ROWS) == [10 * ROWS], "a run that is resumed from before it"
    log.append("skip", first_row=13 * ROWS)
    assert log.skipped_of_late(14 * ROWS, 8 * ROWS) == [13 * ROWS]
