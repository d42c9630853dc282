"""Learning-rate factors as a function of the step."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.model.optim.settings import ScheduleSettings, lr_factor

NAMES = ["wsd", "cosine", "linear"]


@st.composite
def schedules(draw, *, min_steps: int = 1):
    """Return (number of steps, settings), the warm-up anything from none to longer than the run."""
    num_steps = draw(st.integers(min_steps, 2000))
    return num_steps, ScheduleSettings(
        name=draw(st.sampled_from(NAMES)),
        warmup_steps=draw(st.integers(0, num_steps + 5)),
        decay_fraction=draw(st.floats(0.001, 1.0)),
        final_fraction=draw(st.sampled_from([0.0, 0.1, 1.0])),
    )


def factors(num_steps: int, schedule: ScheduleSettings) -> list[float]:
    return [lr_factor(step, num_steps, schedule) for step in range(num_steps)]


@given(schedules())
def test_every_update_has_a_factor_above_zero_and_at_most_one(case):
    assert all(0 < factor <= 1 for factor in factors(*case))


@given(schedules())
def test_a_warm_up_of_w_steps_rises_from_one_w_th_in_equal_parts(case):
    num_steps, schedule = case
    warm = factors(num_steps, schedule)[: schedule.warmup_steps]
    assert warm == [(step + 1) / schedule.warmup_steps for step in range(len(warm))]


@given(schedules())
def test_after_the_last_update_the_final_fraction_is_reached(case):
    num_steps, schedule = case
    if schedule.warmup_steps < num_steps:
        assert lr_factor(num_steps, num_steps, schedule) == pytest.approx(schedule.final_fraction)


@given(schedules())
def test_it_never_rises_after_the_warm_up(case):
    num_steps, schedule = case
    after = factors(num_steps, schedule)[schedule.warmup_steps :]
    assert all(later <= earlier for earlier, later in pairwise(after))


@given(schedules(min_steps=4))
def test_there_is_no_jump(case):
    """No update's factor differs from the one before by more than the steepest slope that the settings ask for."""
    num_steps, schedule = case
    found = factors(num_steps, schedule)
    decay_steps = num_steps - schedule.warmup_steps
    if schedule.name == "wsd":
        decay_steps = min(decay_steps, round(schedule.decay_fraction * num_steps))
    steepest = max(1 / max(1, schedule.warmup_steps), math.pi / 2 / max(1, decay_steps))
    largest = max(abs(later - earlier) for earlier, later in pairwise(found))
    assert largest <= steepest + 1e-9, f"a jump of {largest} where {steepest} is the most"


def test_wsd_is_flat_and_then_linear():
    schedule = ScheduleSettings(name="wsd", warmup_steps=10, decay_fraction=0.5, final_fraction=0.0)
    found = factors(100, schedule)
    assert found[9:51] == [1.0] * 42
    assert found[75] == pytest.approx(0.5)
    assert found[99] == pytest.approx(1 / 50)


def test_cosine_and_linear_are_halfway_down_in_the_middle():
    for name in ("cosine", "linear"):
        schedule = ScheduleSettings(name=name, warmup_steps=20, final_fraction=0.1)
        assert lr_factor(60, 100, schedule) == pytest.approx(0.55)


def test_cosine_is_torchs():
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    schedule = ScheduleSettings(name="cosine", warmup_steps=0, final_fraction=0.1)
    for step in range(50):
        assert lr_factor(step, 50, schedule) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        theirs.step()
