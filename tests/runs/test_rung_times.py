"""A rung's records give the time of a step and of what lies around steps: on a made-up rung whose parts are known."""

from __future__ import annotations

import pytest

from headwater.runs.rung_times import rung_times

STEP, BESIDE_A_SAVE, SAVE_WAIT = 0.1, 0.25, 0.01


def rung(num_steps: int = 100, save_every: int = 25, changed: dict[int, float] | None = None) -> list[dict]:
    """Return records of a rung: slow first steps, saves of which the next step feels 0.2 s of writing."""
    seconds = dict.fromkeys(range(1, num_steps + 1), STEP) | {1: 0.9, 2: 0.4}
    seconds |= {step + 1: BESIDE_A_SAVE for step in range(save_every, num_steps, save_every)}
    records = [{"event": "start", "step": 0, "attempt": 1}]
    for step, taken in (seconds | (changed or {})).items():
        records.append({"event": "step", "attempt": 1, "step": step, "seconds": taken})
        if step % save_every == 0:
            save = {"step": step, "seconds": SAVE_WAIT, "background_seconds": 0.2}
            records.append({"event": "checkpoint", "attempt": 1, **save})
    for event in ("validation", "probes"):  # of a first look, which compiles
        records.insert(2, {"event": event, "step": 1, "attempt": 1, "evaluation_seconds": 9.0})
    evaluated = {"step": num_steps, "attempt": 1}
    records.append({"event": "validation", **evaluated, "evaluation_seconds": 3.0})
    records.append({"event": "probes", **evaluated, "evaluation_seconds": 1.5})
    records.append({"event": "samples", **evaluated, "evaluation_seconds": 0.5})
    return records


def test_each_part_is_what_it_was_made_of():
    found = rung_times(rung(), 1000)
    assert found.step_seconds == pytest.approx(STEP)
    assert found.around.validated_token == pytest.approx(3.0 / 1000)
    assert found.around.probe == pytest.approx(2.0)
    # three saves are followed by a step that took 0.15 s more
    assert found.around.save == pytest.approx(BESIDE_A_SAVE - STEP + SAVE_WAIT)


def test_saves_and_first_steps_count_as_often_as_the_run_has_them():
    # as often as the rung itself, steps and parts add up to the rung; 0.8 and 0.3 s of its start are left out
    records, found = rung(), rung_times(rung(), 1000)
    trained = sum(record["seconds"] for record in records if record["event"] in ("step", "checkpoint"))
    assert 100 * found.step_seconds + 3 * found.around.save + SAVE_WAIT == pytest.approx(trained - 0.8 - 0.3)


def test_a_save_that_lasts_for_several_steps_is_taken_out_of_all_of_them():
    slow = {51: 0.25, 52: 0.25, 53: 0.25}
    records = rung(save_every=50, changed=slow)
    for record in records:
        if record["event"] == "checkpoint":
            record["background_seconds"] = 0.7
    found = rung_times(records, 1000)
    assert found.step_seconds == pytest.approx(STEP)
    assert found.around.save == pytest.approx(3 * 0.15 + SAVE_WAIT)


def test_a_step_that_something_held_up_counts_as_little_more_than_others():
    found = rung_times(rung(changed={40: 5.0}), 1000)
    assert found.step_seconds == pytest.approx(STEP * (1 + 0.5 / 95))


@pytest.mark.parametrize("resumed_from", [50, 60])
def test_the_slow_steps_of_an_attempt_that_went_on_are_nobodys(resumed_from):
    # also where it goes on from a checkpoint: its steps are beside no save
    records = rung(changed={resumed_from + 1: 5.0, resumed_from + 2: 0.4})
    for record in records:
        record["attempt"] = 2 if record["step"] > resumed_from else 1
    found = rung_times(records, 1000)
    assert found.step_seconds == pytest.approx(STEP)
    assert found.around.save == pytest.approx(BESIDE_A_SAVE - STEP + SAVE_WAIT)


def test_a_step_that_something_held_up_beside_a_save_isnt_the_saves():
    found = rung_times(rung(changed={26: 5.0}), 1000)
    # one of three saves is written for 0.2 s, and can't have held up its step for longer
    assert found.around.save == pytest.approx((2 * (BESIDE_A_SAVE - STEP) + 0.2) / 3 + SAVE_WAIT)


def test_audited_steps_take_twice_as_long_and_count_as_they_are():
    records = rung(changed=dict.fromkeys(range(10, 100, 10), 2 * STEP))
    for record in records:
        if record["event"] == "step" and record["step"] % 10 == 0:
            record["audited"] = True
    steady = [record for record in records if record["event"] == "step" and record["step"] not in (1, 2, 26, 51, 76)]
    expected = sum(record["seconds"] for record in steady) / len(steady)
    assert rung_times(records, 1000).step_seconds == pytest.approx(expected)


def test_steps_of_long_rows_after_short_ones_count_as_they_are():
    records = rung(num_steps=1000, save_every=1000, changed=dict.fromkeys(range(801, 1001), 3 * STEP))
    assert rung_times(records, 1000).step_seconds == pytest.approx(STEP * (798 + 600) / 998, rel=0.01)


def test_a_rung_of_few_steps_and_no_probes_says_what_it_can():
    records = [record for record in rung(num_steps=2, save_every=2) if record["event"] not in ("probes", "samples")]
    found = rung_times(records, 1000)
    assert found.around.probe is None
    assert found.around.save is None
    assert found.step_seconds == pytest.approx((0.9 + 0.4) / 2)
