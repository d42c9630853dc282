"""A few steps of a run as a trace that Perfetto shows, and when garbage is collected."""

from __future__ import annotations

import gc
import json
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import ValidationError
from tiny_run import MadeUpRows, assembled, begin, plan, train_here, train_on

from headwater.core.errors import StorageError
from headwater.core.records import read_records
from headwater.machine.device import profile
from headwater.machine.device.profile import StepProfile
from headwater.machine.host.signals import StopRequest
from headwater.train.loop import train
from headwater.train.settings import TrainSettings

SIZES = {"num_steps": 9, "batch_tokens": 8, "microbatch_tokens": 8, "save_every": 1, "validate_every": 1}


def losses(run_dir) -> list[float]:
    return [record["loss"] for record in read_records(run_dir / "records.jsonl", "step")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    train_here(folder, plan(num_steps=6))
    return folder


# of a run that is stopped after its third step, a resume is traced from there; the last one ends with the run
@pytest.mark.parametrize(("steps", "stops", "named"), [([3, 4], [None], [3, 4]), ([2, 30], [3, None], [4, 5, 6])])
def test_the_steps_are_traced_with_the_operations_inside_and_no_bit_changes(tmp_path, plain, steps, stops, named):
    for stop_after in stops:
        train_here(tmp_path / "profiled", plan(num_steps=6, profile_steps=steps), stop_after)
    assert losses(tmp_path / "profiled") == losses(plain)
    trace = json.loads((tmp_path / "profiled/profile/rank-0.json").read_text())
    complete = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert all({"name", "ts", "dur", "pid", "tid"} <= event.keys() for event in complete)
    spans = {event["name"]: event for event in complete if event["name"].startswith("step ")}
    assert sorted(spans) == sorted(f"step {step}" for step in named)
    for span in spans.values():
        products = [event for event in complete if event["name"] == "aten::mm"]
        assert any(span["ts"] <= event["ts"] <= span["ts"] + span["dur"] for event in products)
    assert not (plain / "profile").exists()


@pytest.fixture
def full_disk(monkeypatch):
    def fail(path, contents):
        raise StorageError("no space left")

    monkeypatch.setattr(profile, "write_bytes", fail)


@pytest.mark.parametrize("steps", [[2, 4], [11, 30]])
def test_a_trace_that_cannot_be_written_is_said_once_and_ends_no_run(tmp_path, full_disk, steps):
    said: list[str] = []
    run = assembled(tmp_path, plan(profile_steps=steps), MadeUpRows(), said.append)
    assert train_on(run).step == 12
    assert [line for line in said if "no trace" in line and "no space left" in line] == said[-1:]


def test_nothing_is_watched_while_a_trace_is_written(tmp_path, monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(profile, "write_bytes", lambda path, contents: calls.append("written"))
    with closing(StepProfile([1, 1], tmp_path / "trace.json", calls.append, lambda: calls.append("rest"))) as one:
        one.begin(1)
        one.begin(2)
        assert calls == ["rest", "written"]
        one.begin(3)
    assert calls == ["rest", "written"]


@pytest.mark.parametrize("value", [[0, 3], [5, 4], [1], [1, 2, 3], "all"])
def test_what_is_no_range_of_steps_is_refused(value):
    with pytest.raises(ValidationError):
        TrainSettings(**SIZES, profile_steps=value)


def test_garbage_is_collected_at_saves_and_evaluations_and_in_no_step(tmp_path, monkeypatch):
    collections, thawed = [], []

    def note(phase, info):
        if phase == "start":
            collections.append(info["generation"])

    def display(record):
        if record["event"] == "step":
            seen[record["step"]] = len(collections)

    seen: dict[int, int] = {}
    run = begin(tmp_path, plan(save_every=4, validate_every=100, num_probes=0))
    monkeypatch.setattr(gc, "unfreeze", lambda: thawed.append(gc.get_freeze_count() > 1000))
    was_enabled = gc.isenabled()
    gc.callbacks.append(note)
    try:
        train(run, None, display, StopRequest())
    finally:
        gc.callbacks.remove(note)
        run.records.close()
    steps = range(1, 12)
    assert [step for step in steps if seen[step + 1] > seen[step]] == [4, 8]
    assert gc.isenabled() == was_enabled and thawed == [True]
