"""Learning-rate factors as a function of the step."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.model.optim.schedule import ScheduleSettings, lr_factor

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
def test_a_warm_up_of_w_steps_rises_from_one_w_th_in_equal_parts(case):
    num_steps, schedule = case
    warm = factors(num_steps, schedule)[: schedule.warmup_steps]
    assert warm == [(step + 1) / schedule.warmup_steps for step in range(len(warm))]


def test_wsd_is_flat_and_then_linear():
    schedule = ScheduleSettings(name="wsd", warmup_steps=10, decay_fraction=0.5, final_fraction=0.0)
    found = factors(100, schedule)
    assert found[9:51] == [1.0] * 42
    assert found[75] == pytest.approx(0.5)
    assert found[99] == pytest.approx(1 / 50)


def test_cosine_is_torchs():
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.1)
    schedule = ScheduleSettings(name="cosine", warmup_steps=0, final_fraction=0.1)
    for step in range(50):
        assert lr_factor(step, 50, schedule) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        theirs.step()
