"""A ladder's step is taken to the pace that is expected of the run: two speeds, told apart by a product of matrices."""

from __future__ import annotations

import pytest

from headwater.plan.ladder import Rung
from headwater.recipes.ladder_record import DoneRung
from headwater.recipes.pace import MOST, NOW_SECONDS, Pacemaker, slowdown

SIZES = {"num_heads": 1, "num_kv_heads": 1, "head_dim": 16, "d_ff": 64}


def done(num_steps: int, seconds: float, pace: float | None) -> DoneRung:
    rung = Rung(2, 16, **SIZES, num_steps=num_steps, params=1e4, tokens=4096, flops=1e9, seconds=seconds)
    return DoneRung(rung, {"all": 2.0}, seconds / num_steps, seconds, "float32", 1, "a processor", pace)


def test_a_machine_of_one_speed_changes_nothing():
    rungs = [done(8, 30.0, 1e11), done(9, 60.0, 1e11)]
    assert slowdown(rungs[:1], rungs, 1e11) == pytest.approx(1.0)


def test_a_rung_that_was_fast_is_slowed_by_what_the_others_saw():
    rungs = [done(8, 60.0, 1.2e11), done(9, 120.0, 1.0e11)]
    # by hand: 60 s at 1/1.2 of the slow pace's seconds, 120 s at one and this moment's 60 s at one
    expected = (60 / 1.2 + 120 + NOW_SECONDS) / (180 + NOW_SECONDS)
    assert slowdown(rungs[:1], rungs, 1.0e11) == pytest.approx(expected * 1.2)
    assert slowdown(rungs[1:], rungs, 1.0e11) == pytest.approx(expected)


def test_this_moment_is_left_out_where_it_isnt_known():
    rungs = [done(8, 60.0, 1.2e11), done(9, 60.0, 1.0e11)]
    assert slowdown(rungs[1:], rungs, None) == pytest.approx((1 / 1.2 + 1) / 2)


def test_a_pace_that_cant_be_is_bounded():
    rungs = [done(8, 60.0, 1e11)]
    assert slowdown(rungs, rungs, 1e9) == MOST
    assert slowdown(rungs, rungs, 1e15) >= 1 / MOST


def test_rungs_without_a_pace_are_taken_as_they_were_and_say_nothing_of_others():
    rungs = [done(8, 60.0, None), done(9, 60.0, 1e11)]
    assert slowdown(rungs[:1], rungs, 1.1e11) == 1.0
    assert slowdown(rungs[1:], rungs, 1.1e11) == slowdown(rungs[1:], rungs[1:], 1.1e11) < 1


def test_the_pace_is_taken_between_steps_and_shown_records_are_the_same():
    shown, clock, rates = [], [0.0], iter([2e11, 1e11, 1e11])

    def rate() -> float:
        return next(rates)

    pacemaker = Pacemaker(shown.append, lambda: clock[0], rate)
    events = [("start", 0.0), ("step", 1.0), ("step", 2.0), ("step", 6.0), ("checkpoint", 20.0), ("finish", 21.0)]
    for event, at in events:
        clock[0] = at
        pacemaker({"event": event, "step": 1})
    assert [record["event"] for record in shown] == [event for event, _ in events]
    # steps at 1 and 6 s and the end: 0.5, 1 and 1 (× 1e-11 s a FLOP)
    assert pacemaker.pace == pytest.approx(3 / 2.5 * 1e11)
    assert next(rates, None) is None


def test_a_clock_that_is_too_coarse_gives_no_pace():
    pacemaker = Pacemaker(lambda record: None, lambda: 0.0, lambda: 0.0)
    pacemaker({"event": "finish", "step": 1})
    assert pacemaker.pace is None
