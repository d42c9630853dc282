"""What is said at a run's end is of all its processes, also of those that were killed."""

from __future__ import annotations

import itertools

import pytest
from small_run import quick

from headwater.core.records import error_fields, memory_fields, read_records
from headwater.runs.stages import open_batches
from headwater.runs.training import train_stage


def step(attempt: int, **fields) -> dict:
    return {"event": "step", "attempt": attempt, "step": 1, **fields}


def saved(attempt: int, peak: int | None) -> dict:
    return {"event": "checkpoint", "attempt": attempt, "step": 1, "peak_memory_bytes": peak}


@pytest.mark.parametrize(
    ("records", "peak", "found", "how"),
    [
        ([], 5, 5, "peak of the process"),
        ([], None, None, "not known of every attempt"),
        ([step(1), saved(1, 7), saved(1, 9), step(3)], 5, 9, "largest peak of the process in 2 attempts"),
        ([step(1), saved(1, 4), step(3)], 5, 5, "largest peak of the process in 2 attempts"),
        ([{"event": "start", "attempt": 1, "step": 0}, step(3)], 5, 5, "peak of the process"),
        ([step(1), step(3)], 5, None, "not known of every attempt"),
        ([step(1), saved(1, None)], 5, None, "not known of every attempt"),
        ([saved(1, 7), saved(2, 8)], None, None, "not known of every attempt"),
    ],
)
def test_the_peak_of_a_run_is_the_largest_of_its_processes_or_unknown(records, peak, found, how):
    fields = memory_fields(records, 3, peak)
    assert fields["peak_memory_bytes"] == found
    assert fields["peak_memory_how"].startswith(how)


def test_the_largest_error_of_rounding_is_kept_where_any_was_measured():
    assert error_fields([step(1)]) == {}
    assert error_fields([step(1, gradient_error=0.1), step(2), step(3, gradient_error=0.2)]) == {"gradient_error": 0.2}


class Killed(BaseException):
    """Nothing catches it, as nothing does SIGKILL."""


def killed_after_a_save(record: dict) -> None:
    if record["event"] == "checkpoint" and record["step"] == 8:
        raise Killed


def test_a_killed_process_counts_in_the_runs_peak(prepare, monkeypatch):
    config = prepare(name="killed", train__num_steps=12, train__save_every=4).config
    held = itertools.count(1000)
    monkeypatch.setattr("headwater.machine.host.memory.peak_bytes", lambda: next(held))
    with quick():
        with pytest.raises(Killed):
            train_stage(config, open_batches(config), killed_after_a_save, print)
        before = next(held)
        held = itertools.count(10)  # the process that goes on holds less: it has prepared nothing
        assert train_stage(config, open_batches(config), lambda record: None, print)
    (end,) = read_records(config.run_dir / "records.jsonl", "finish")
    assert 1000 < end["peak_memory_bytes"] < before
    assert end["peak_memory_how"] == "largest peak of the process in 2 attempts"
