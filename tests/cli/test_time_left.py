"""The time that is left counts evaluations apart from steps: on a made-up run whose every part is known."""

from __future__ import annotations

import pytest

from headwater.cli.time_left import TimeLeft
from headwater.train.settings import TrainSettings, is_probe, is_validation

STEP, VALIDATION, PROBES, SAMPLES = 0.1, 0.3, 1.0, 0.5


def settings(num_probes: int = 6) -> TrainSettings:
    portions = {"batch_tokens": 512, "microbatch_tokens": 512}
    return TrainSettings(num_steps=1000, save_every=100, validate_every=300, num_probes=num_probes, **portions)


def records(train: TrainSettings, first: int, last: int) -> list[dict]:
    found = []
    for step in range(first, last + 1):
        found.append({"event": "step", "step": step, "seconds": STEP})
        if is_validation(step, train):
            found.append({"event": "validation", "step": step, "evaluation_seconds": VALIDATION})
        if is_probe(step, train):
            found.append({"event": "probes", "step": step, "evaluation_seconds": PROBES})
            found.append({"event": "samples", "step": step, "evaluation_seconds": SAMPLES})
        found.append({"event": "checkpoint", "step": step, "seconds": 9.0})
    return found


def seconds_of(found: list[dict]) -> float:
    kinds = {"step": "seconds", "validation": "evaluation_seconds"}
    kinds |= {"probes": "evaluation_seconds", "samples": "evaluation_seconds"}
    return sum(record[kinds[record["event"]]] for record in found if record["event"] in kinds)


@pytest.mark.parametrize("first", [1, 401])
@pytest.mark.parametrize("seen", [60, 299, 599])
@pytest.mark.parametrize("num_probes", [0, 6])
def test_what_is_left_is_what_will_come(first, seen, num_probes):
    # the first sixtieth of a run has half of its probes
    train = settings(num_probes)
    left = TimeLeft(train)
    for record in records(train, first, first + seen - 1):
        left.note(record)
    now = first + seen - 1
    was_validated = any(is_validation(step, train) for step in range(first, now + 1))
    expected = seconds_of(records(train, now + 1, train.num_steps))
    unseen = 0 if was_validated else VALIDATION * sum(is_validation(s, train) for s in range(now + 1, 1001))
    was_probed = any(is_probe(step, train) for step in range(first, now + 1))
    unseen += 0 if was_probed else (PROBES + SAMPLES) * sum(is_probe(s, train) for s in range(now + 1, 1001))
    assert left.after(now) == pytest.approx(expected - unseen)


def test_nothing_is_known_before_a_step():
    left = TimeLeft(settings())
    left.note({"event": "start", "step": 0, "seconds": 3.0})
    assert left.after(0) is None


def test_nothing_is_left_at_the_end():
    train = settings()
    left = TimeLeft(train)
    for record in records(train, 1, 1000):
        left.note(record)
    assert left.after(1000) == 0


def test_steps_in_which_kernels_are_compiled_are_left_out():
    train = settings(0)
    left = TimeLeft(train)
    found = records(train, 1, 100)
    found[0]["seconds"], found[2]["seconds"] = 60.0, 5.0
    assert [record["step"] for record in found[:3:2]] == [1, 2]
    for record in found:
        left.note(record)
        if record["event"] == "step" and record["step"] in (1, 3):
            assert left.after(record["step"]) > 0
    assert left.after(100) == pytest.approx(seconds_of(records(train, 101, 1000)) - 4 * VALIDATION)


def test_a_probe_that_comes_again_after_a_rollback_is_another_one():
    train = settings()
    once, twice = TimeLeft(train), TimeLeft(train)
    first = records(train, 1, 10)
    for record in first:
        once.note(record)
        twice.note(record)
    twice.note({"event": "rollback", "step": 9})
    for record in records(train, 10, 10):
        twice.note(record)
    assert twice.after(10) == pytest.approx(once.after(10))


def test_a_disturbance_that_has_passed_is_forgotten():
    train = settings(0)
    left = TimeLeft(train)
    for record in records(train, 1, 600):
        left.note(record | ({"seconds": 5.0} if record["event"] == "step" and 300 < record["step"] < 350 else {}))
    assert left.after(600) == pytest.approx(400 * STEP + 2 * VALIDATION)
