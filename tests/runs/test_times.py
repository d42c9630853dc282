"""A run's records give the time of a step and of what lies around steps: on a made-up run whose parts are known."""

from __future__ import annotations

import pytest

from headwater.runs.times import MeasuredAround, around_steps_of, mean_step
from headwater.train.settings import TrainSettings

STEP, BESIDE_A_SAVE, SAVE_WAIT = 0.1, 0.25, 0.01
REST = {"microbatch_tokens": 1024, "save_every": 25, "validate_every": 100}
TRAIN = TrainSettings(num_steps=100, batch_tokens=1024, half_length_fraction=0.0, **REST)


def rung(num_steps: int = 100, changed: dict[int, float] | None = None) -> list[dict]:
    """Return records of a rung: slow first steps, saves of which the next step feels 0.2 s of writing."""
    seconds = dict.fromkeys(range(1, num_steps + 1), STEP) | {1: 0.9, 2: 0.4}
    seconds |= {step + 1: BESIDE_A_SAVE for step in range(25, num_steps, 25)}
    records = []
    for step, taken in (seconds | (changed or {})).items():
        records.append({"event": "step", "step": step, "seconds": taken})
        if step % 25 == 0:
            records.append({"event": "checkpoint", "step": step, "seconds": SAVE_WAIT, "background_seconds": 0.2})
    for event in ("validation", "probes"):  # the first compiles
        records.insert(2, {"event": event, "step": 1, "evaluation_seconds": 9.0})
    records.append({"event": "validation", "step": num_steps, "evaluation_seconds": 3.0})
    records.append({"event": "probes", "step": num_steps, "evaluation_seconds": 1.5})
    records.append({"event": "samples", "step": num_steps, "evaluation_seconds": 0.5})
    return records


def test_each_part_is_what_it_was_made_of():
    assert mean_step(rung(), TRAIN) == pytest.approx(STEP)
    found = around_steps_of(rung(), 1000, num_threads=2)
    assert found.validated_token == pytest.approx(3.0 / 1000)
    assert found.probe == pytest.approx(2.0)
    assert found.save == pytest.approx(SAVE_WAIT + 0.2 / 2)


def test_of_many_validations_the_mean_counts():
    many = [{"event": "validation", "step": step, "evaluation_seconds": 1.0 + step} for step in range(5)]
    assert around_steps_of([*rung()[:1], *many], 10, 2).validated_token == pytest.approx(0.3)


def test_what_held_a_step_up_is_not_the_runs():
    audits = dict.fromkeys(range(10, 100, 10), 2 * STEP) | {40: 5.0}
    assert mean_step(rung(changed=audits), TRAIN) == pytest.approx(STEP)


def test_steps_of_whole_rows_after_half_ones_count_as_they_are():
    train = TRAIN.model_copy(update={"half_length_fraction": 0.6})
    records = rung(changed=dict.fromkeys(range(61, 101), 3 * STEP))
    assert mean_step(records, train) == pytest.approx(0.6 * STEP + 0.4 * 3 * STEP)


def test_a_rung_without_probes_or_saves_says_what_it_can():
    records = [record for record in rung() if record["event"] in ("step", "validation")]
    found = around_steps_of(records, 1000, 2)
    assert found.probe is found.save is None
    assert found.validated_token is not None


def test_the_mean_of_measurements_is_that_of_those_that_were_made():
    found = MeasuredAround.mean_of([MeasuredAround(save=1.0), MeasuredAround(save=3.0, probe=2.0), MeasuredAround()])
    assert found == MeasuredAround(save=2.0, probe=2.0)
