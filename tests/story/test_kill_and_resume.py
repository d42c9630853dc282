"""A run that is stopped in every way a run gets stopped ends with the bits of one that never was."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from many_ranks import Fork, calling, slowly, start_programs, start_ranks
from small_run import Said, call, finish, write_run_file, write_texts

from headwater.core.records import read_all, read_records

# one process after another, which takes many times as long where others use the machine as well
pytestmark = [pytest.mark.timeout(1800)]

NUM_STEPS = 40
SAVED_AND_STOPPED = 75


def prepare(folder: Path) -> Path:
    write_texts(folder / "texts")
    write_run_file(folder / "mine.toml", train__num_steps=NUM_STEPS, train__save_every=7)
    return folder


def stop_when(folder: Path, number: signal.Signals, is_time: Callable[[Path], bool]) -> Said:
    """Run headwater and send it a signal as soon as `is_time` of its run folder holds; return what it said."""
    program = slowly(calling("run", "mine.toml"), 0.05)  # else it may be done before the signal
    with killed_at_the_end(start_programs([program], folder)[0]) as process:
        while not is_time(folder / "runs" / "mine") and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        return finish(process)


@contextmanager
def killed_at_the_end(process: Fork) -> Iterator[Fork]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def steps_done(run_dir: Path) -> int:
    return max((record["step"] for record in read_all(run_dir / "records.jsonl")), default=0)


def test_a_run_that_is_stopped_from_the_keyboard_names_the_command_that_resumes(tmp_path):
    folder = prepare(tmp_path)
    stopped = stop_when(folder, signal.SIGINT, lambda run_dir: steps_done(run_dir) >= 4)
    assert stopped.status == SAVED_AND_STOPPED, stopped
    assert "stopped by SIGINT" in stopped.out and "run the same command to resume" in stopped.out
    assert "Traceback" not in stopped.err
    assert "resuming from step" in call("run", "mine.toml", cwd=folder).out


def test_an_interruption_before_training_names_the_command_that_resumes(tmp_path):
    folder = prepare(tmp_path)
    said = stop_when(folder, signal.SIGINT, lambda run_dir: (run_dir / "data").exists())
    assert said.status == 130, said
    assert "run the same command to resume" in said.err
    assert "Traceback" not in said.err
    assert not list((folder / "runs/mine/data").glob(".tmp-*"))


def wait_for_steps(process: Fork, run_dir: Path, num_steps: int, skipped: int = 0) -> None:
    """Return once a process has recorded steps beyond the first `skipped` records; fail when it ends before."""
    while True:
        new = read_all(run_dir / "records.jsonl")[skipped:]
        if sum(record["event"] == "step" for record in new) >= num_steps:
            return
        assert process.poll() is None, finish(process)
        time.sleep(0.01)


def test_a_trainer_that_was_stopped_and_taken_over_is_refused_when_it_comes_back(tmp_path):
    folder = prepare(tmp_path)
    train = ("train", "mine.toml", "train.num_steps=100000", "train.save_every=50")
    run_dir = folder / "runs" / "mine"
    with killed_at_the_end(start_ranks(1, *train, cwd=folder)[0]) as first:
        wait_for_steps(first, run_dir, 60)
        first.send_signal(signal.SIGSTOP)
        before = len(read_all(run_dir / "records.jsonl"))
        (run_dir / "lock").unlink()  # as is done about an owner whose machine is lost
        with killed_at_the_end(start_ranks(1, *train, cwd=folder)[0]) as second:
            wait_for_steps(second, run_dir, 1, before)
            first.send_signal(signal.SIGCONT)
            said = finish(first)
            assert said.status == 1, said
            assert f"has been taken over by process {second.pid} on " in said.err
            assert "Traceback" not in said.err
            wait_for_steps(second, run_dir, 1, len(read_all(run_dir / "records.jsonl")))
    records = read_records(run_dir / "records.jsonl")  # which skips what a replaced owner still wrote
    assert [record["attempt"] for record in records] == sorted(record["attempt"] for record in records)
