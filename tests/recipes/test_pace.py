"""A ladder's step is taken to the pace that is expected of the run: two speeds, told apart by steps of the run itself."""

from __future__ import annotations

import tempfile
from dataclasses import replace

import pytest
import torch
from small_run import quick

from headwater.plan.forecast_run import Spread
from headwater.plan.ladder import Rung
from headwater.recipes import pace
from headwater.recipes.ladder_record import DoneRung
from headwater.recipes.metronome import metronome
from headwater.recipes.pace import MOST, SECONDS_BETWEEN, Pacemaker, share_of_samples, slowdown
from headwater.recipes.planned_device import machinery, microbatch_tokens
from headwater.recipes.planned_ladder import disturbed, ladder_probe
from headwater.recipes.rung_times import NOT_MEASURED
from headwater.records import read_records

SIZES = {"num_heads": 1, "num_kv_heads": 1, "head_dim": 16, "d_ff": 64}


def done(num_steps: int, seconds: float, step_at_pace: float | None) -> DoneRung:
    rung = Rung(2, 16, **SIZES, num_steps=num_steps, params=1e4, tokens=4096, flops=1e9, seconds=seconds)
    return DoneRung(
        rung, {"all": 2.0}, seconds / num_steps, seconds, "float32", 1, "a processor", NOT_MEASURED, step_at_pace
    )


@pytest.fixture(scope="module")
def workshop(prepare):
    return prepare()


def test_a_machine_of_one_speed_changes_nothing():
    rungs = [done(8, 30.0, 0.2), done(9, 60.0, 0.2)]
    assert slowdown(rungs[:1], rungs) == pytest.approx(1.0)


def test_a_rung_that_was_fast_is_slowed_by_what_the_others_saw():
    rungs = [done(8, 60.0, 0.20), done(9, 120.0, 0.24)]
    # by hand: a third of the time at 0.20 s a step, two thirds at 0.24
    assert slowdown(rungs[:1], rungs) == pytest.approx((0.20 + 2 * 0.24) / 3 / 0.20)
    assert slowdown(rungs[1:], rungs) == pytest.approx((0.20 + 2 * 0.24) / 3 / 0.24)
    assert slowdown(rungs, rungs) == pytest.approx(1.0)


def test_times_of_rungs_beside_other_programs_are_left_out_of_the_probe_and_named(workshop):
    config = workshop.config
    model = config.model
    own = {"num_layers": model.num_layers, "d_model": model.d_model}
    quiet = done(8, 60.0, 0.2)
    quiet = replace(quiet, rung=replace(quiet.rung, **own), step_seconds=0.2)
    busy = replace(quiet, rung=replace(quiet.rung, num_steps=9), step_seconds=2.0, busy="others use 1.9 of the 2 CPUs")
    assert ladder_probe(config, [quiet, busy]).step_seconds == pytest.approx(0.2)
    assert ladder_probe(config, [busy]) is None
    assert ladder_probe(config, [replace(quiet, rung=replace(quiet.rung, d_model=2)), busy]) is None
    (one,), (all_of_them,) = disturbed([quiet, busy], ladder_probe(config, [quiet, busy])), disturbed([busy], None)
    assert busy.rung.name in one and "those of the others count" in one
    assert "this processor's rate" in all_of_them
    assert disturbed([quiet], None) == []


def test_a_pace_that_cant_be_is_bounded():
    rungs = [done(8, 60.0, 0.1), done(9, 600.0, 9.0)]
    assert slowdown(rungs[:1], rungs) == MOST
    assert slowdown(rungs[1:], [done(8, 6e9, 0.1), rungs[1]]) == 1 / MOST


def test_rungs_without_a_pace_are_taken_as_they_were_and_say_nothing_of_others():
    rungs = [done(8, 60.0, None), done(9, 60.0, 0.1), done(10, 60.0, 0.2)]
    assert slowdown(rungs[:1], rungs) == 1.0
    assert slowdown(rungs[1:2], rungs) == slowdown(rungs[1:2], rungs[1:]) == pytest.approx(1.25)


def paced(sample_seconds: float, times: list[float]) -> list[float]:
    """Return when samples were taken beside a rung with steps at these times."""
    clock, taken = [0.0], []

    def sample() -> float:
        taken.append(clock[0])
        clock[0] += sample_seconds
        return 0.1

    shown = Pacemaker(lambda: clock[0], sample, print).beside(lambda record: None)
    for at in times:
        clock[0] = max(clock[0], at)
        shown({"event": "step", "step": 1})
    return taken


def test_the_pace_is_taken_between_steps_and_shown_records_are_the_same():
    heard, clock, samples = [], [0.0], iter([0.1, 0.3])
    pacemaker = Pacemaker(lambda: clock[0], lambda: next(samples), print)
    shown = pacemaker.beside(heard.append)
    events = [("start", 0.0), ("step", 1.0), ("step", 2.0), ("step", 11.0), ("checkpoint", 30.0), ("finish", 31.0)]
    for event, at in events:
        clock[0] = at
        shown({"event": event, "step": 1})
    assert [record["event"] for record in heard] == [event for event, _ in events]
    assert pacemaker.pace == pytest.approx(0.2)  # steps at 1 and 11 s
    assert next(samples, None) is None


def test_a_rung_has_the_samples_beside_it_and_the_next_one_those_that_are_due():
    clock, samples = [0.0], iter([0.1, 0.2, 0.4])
    pacemaker = Pacemaker(lambda: clock[0], lambda: next(samples), print)
    paces = []
    for times in ((1.0, 2.0), (3.0, 4.0), (12.0, 24.0)):
        shown = pacemaker.beside(lambda record: None)
        for clock[0] in times:
            shown({"event": "step", "step": 1})
        paces.append(pacemaker.pace)
    assert paces == [0.1, None, pytest.approx(0.3)]


def test_long_steps_are_sampled_rarely():
    every_second = [float(second) for second in range(600)]
    assert len(paced(0.5, every_second)) == pytest.approx(600 / (SECONDS_BETWEEN + 1), rel=0.2)
    assert 20.0 * len(paced(20.0, every_second)) <= 0.1 * 600 + 20.0


def test_a_sample_that_fails_was_the_last_and_the_rung_goes_on():
    said, times = [], iter(range(0, 1000, 100))

    def fail() -> float:
        raise OSError("no space left")

    pacemaker = Pacemaker(lambda: float(next(times)), fail, said.append)
    shown = pacemaker.beside(lambda record: None)
    for _ in range(3):
        shown({"event": "step", "step": 1})
    assert said == ["no further measurement of the machine's pace: no space left"]
    assert pacemaker.pace is None


def test_samples_take_no_more_than_their_share_of_a_ladder(workshop, monkeypatch):
    found = machinery(workshop.config, None)
    portion = microbatch_tokens(workshop.config) / workshop.config.train.batch_tokens

    def share(step_seconds: float, **changed: object) -> float:
        return share_of_samples(workshop.config, replace(found, step=Spread(step_seconds / portion), **changed))

    monkeypatch.setattr(pace, "available_bytes", lambda: 2**40)
    monkeypatch.setattr(pace, "memory_bytes", lambda: 2**40)
    assert share(0.01) == pytest.approx(6 * 0.01 / SECONDS_BETWEEN)
    assert share(60.0) == 0.1
    assert share(0.01, memory=Spread(2.0**39)) == 0, "not twice as much as there is"
    assert share(0.01, memory_limit_bytes=2.0**40) == 0, "a GPU keeps its pace"


def test_samples_beside_a_run_leave_its_bits_as_they_are(workshop, tmp_path):
    alone = workshop.train(tmp_path / "alone")
    with quick(), metronome(workshop.config) as steps:
        pacemaker = Pacemaker(iter(range(0, 10**6, 100)).__next__, steps.sample, print)
        beside = workshop.train(tmp_path / "beside", pacemaker.beside(lambda record: None))
    assert pacemaker.pace > 0
    states = [run.prepared.model.state_dict() for run in (alone, beside)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    steps_of = [read_records(tmp_path / name / "records.jsonl", "step") for name in ("alone", "beside")]
    assert [step["loss"] for step in steps_of[0]] == [step["loss"] for step in steps_of[1]]


def test_the_metronome_leaves_no_folder_behind(workshop, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with quick(), metronome(workshop.config) as steps:
        assert len(list(tmp_path.iterdir())) == 1
        assert steps.sample() > 0
        assert steps.sample() > 0
    assert list(tmp_path.iterdir()) == []
