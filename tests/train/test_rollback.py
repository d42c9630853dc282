"""A run that was harmed goes back, skips the rows and comes to the same end, whatever stops it on the way."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from spiked_run import HARMED, NUM_STEPS, assert_same_run, end_of, go_on, log_of, plant, spiked_plan, what_counts
from tiny_run import ROWS_PER_STEP, MadeUpRows, begin

from headwater.core import disk
from headwater.core.errors import TrainingError
from headwater.core.records import read_all, read_records
from headwater.machine.host.signals import StopRequest
from headwater.tokens.skipped_rows import FILE, read_interventions
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.load import read_checkpoint

# what dies leaves its files open
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def harmed(monkeypatch) -> None:
    plant(monkeypatch, HARMED)


# ---- what it does


def test_the_spike_is_seen_at_the_next_step_and_the_run_goes_back_after_three(spiked):
    *skips, back = read_interventions(spiked)
    assert [(entry["kind"], entry["from_step"], entry["first_row"]) for entry in skips] == [
        ("skip", 10, (HARMED + number) * ROWS_PER_STEP) for number in (1, 2, 3)
    ]
    assert (back["kind"], back["from_step"], back["to_step"]) == ("rollback", 10, 8)
    assert (back["first_row"], back["last_row"]) == (8 * ROWS_PER_STEP, (HARMED + 4) * ROWS_PER_STEP - 1)
    assert "3 of the last steps were skipped" in back["reason"]


def test_the_log_names_the_documents_of_the_rows_that_did_it(spiked):
    back = read_interventions(spiked)[-1]
    rows = range(HARMED * ROWS_PER_STEP, (HARMED + 4) * ROWS_PER_STEP)
    assert back["documents"] == {"count": 16, "listed": [["made up", str(row)] for row in rows]}


class WithoutThem(MadeUpRows):
    def rows(self, first_row, num_rows):
        gap = (HARMED + 4 - 8) * ROWS_PER_STEP
        return super().rows(first_row if first_row < 8 * ROWS_PER_STEP else first_row + gap, num_rows)


def test_all_steps_are_done_as_if_the_skipped_rows_had_never_been_given(spiked, tmp_path):
    run = read_checkpoint(list_checkpoints(spiked)[0][1])
    assert run.step == NUM_STEPS
    assert run.state["rows_consumed"] == (HARMED + 4 + NUM_STEPS - 8) * ROWS_PER_STEP
    steps = [record["step"] for record in what_counts(spiked) if record["event"] == "step"]
    assert steps == list(range(1, NUM_STEPS + 1))
    go_on(tmp_path, spiked_plan(), batches=WithoutThem())
    ours, theirs = end_of(spiked), end_of(tmp_path)
    assert not [name for name in ours if name != "state" and ours[name] != theirs[name]]
    # nor has a run without trouble a log
    assert {record["event"] for record in read_all(tmp_path / "records.jsonl")} == {
        "start", "step", "checkpoint", "validation", "probes", "samples"
    }  # fmt: skip
    assert not (tmp_path / FILE).exists()


def test_a_checkpoint_that_was_harmed_itself_is_gone_back_to_once(tmp_path, monkeypatch):
    plant(monkeypatch, 7)  # the eighth step, after which the run saves
    go_on(tmp_path, spiked_plan())
    backs = [entry for entry in read_interventions(tmp_path) if entry["kind"] == "rollback"]
    assert [(entry["from_step"], entry["to_step"]) for entry in backs] == [(8, 8), (8, 4)]
    assert all(math.isfinite(record["loss"]) for record in read_records(tmp_path / "records.jsonl", "step"))
    assert list_checkpoints(tmp_path)[0][0] == NUM_STEPS


def test_a_run_harmed_before_its_first_save_starts_again_with_other_rows(tmp_path, monkeypatch):
    plant(monkeypatch, 5)
    end = go_on(tmp_path, spiked_plan(save_every=10))
    assert read_interventions(tmp_path)[-1]["to_step"] == 0
    assert end.step == NUM_STEPS


def test_a_run_that_is_harmed_again_and_again_stops_with_advice(tmp_path, monkeypatch):
    plant(monkeypatch, *range(9, 100))
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"went back 2 times \(train\.max_rollbacks\)\. Lower optim\.matrix_lr"):
            go_on(tmp_path, spiked_plan(max_rollbacks=2, save_every=3))
    with pytest.raises(TrainingError, match="No checkpoint from before it is left that wasn't gone back to already"):
        go_on(tmp_path, spiked_plan(max_rollbacks=50, save_every=3))


def test_bad_steps_with_good_ones_between_bring_it_back_to_before_the_first(tmp_path, monkeypatch):
    refused = {row * ROWS_PER_STEP for row in (5, 8, 11)}
    monkeypatch.setattr(
        "headwater.train.incidents.LiveDecisions.decide",
        lambda self, state, loss, norm: "planted" if state.rows_consumed in refused else None,
    )
    go_on(tmp_path, spiked_plan(guard_window=20))
    back = read_interventions(tmp_path)[-1]
    assert (back["from_step"], back["to_step"]) == (9, 4), "the save of step 8 is from within the trouble"
    assert back["first_row"] == 4 * ROWS_PER_STEP


def test_a_batch_of_garbage_is_gone_through_without_a_trace(tmp_path):
    """Text that contradicts what was learned: no harm is done, so that the run needn't go back."""
    bad = range(45 * ROWS_PER_STEP, 46 * ROWS_PER_STEP)

    class WithGarbage(MadeUpRows):
        def rows(self, first_row, num_rows):
            batch = super().rows(first_row, num_rows)
            return replace(batch, targets_BT=(batch.targets_BT * 7 + 1) % 37) if first_row in bad else batch

    class WithoutIt(MadeUpRows):
        def rows(self, first_row, num_rows):
            return super().rows(first_row + ROWS_PER_STEP * (first_row >= bad.start), num_rows)

    for name, rows in (("with", WithGarbage()), ("without", WithoutIt())):
        long = spiked_plan(num_steps=48, save_every=40, num_probes=0, guard_window=16)
        go_on(tmp_path / name, long, batches=rows)
    (entry,) = read_interventions(tmp_path / "with")
    assert (entry["kind"], entry["first_row"], entry["last_row"]) == ("skip", bad.start, bad[-1])
    assert entry["reason"].startswith("loss ")
    ours, theirs = (end_of(tmp_path / name) for name in ("with", "without"))
    assert not [name for name in ours if name != "state" and ours[name] != theirs[name]]


# ---- what its log is worth


def lines_of(run_dir: Path) -> list[bytes]:
    return (run_dir / FILE).read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("line", [0, 3])
@pytest.mark.parametrize("damage", ["flip", "cut", "no digest"])
def test_a_damaged_line_of_the_log_is_an_error_that_names_it(tmp_path, spiked, line, damage):
    lines = lines_of(spiked)
    assert len(lines) == 4
    if damage == "flip":
        lines[line] = lines[line].replace(b'"from_step":1', b'"from_step":3', 1)
    elif damage == "cut":
        lines[line] = lines[line][: len(lines[line]) // 2] + b"\n"
    else:
        entry = json.loads(lines[line])
        del entry["digest"]
        lines[line] = json.dumps(entry).encode() + b"\n"
    (tmp_path / FILE).write_bytes(b"".join(lines))
    with pytest.raises(TrainingError, match=rf"{FILE} is damaged: line {line + 1} .*put the file back from a copy"):
        begin(tmp_path, spiked_plan())


def test_the_unfinished_last_line_of_a_killed_process_is_ignored(tmp_path, spiked):
    *lines, last = lines_of(spiked)
    (tmp_path / FILE).write_bytes(b"".join(lines) + last[:-9])
    assert read_interventions(tmp_path) == read_interventions(spiked)[:-1]


# ---- what stops it on the way


class Killed(BaseException):
    """Nothing in the code catches it: as after SIGKILL."""


class Points:
    """Count the moments at which a run may die, and let it die at one of them.

    Those are before every operation on the disk of the thread that trains, and after each record. What dies changes
    nothing on the disk any more, whatever it does while it ends.
    """

    keeps_bytes = False

    def __init__(self, last: int | None = None) -> None:
        self.count, self.last = 0, last

    def begin(self, kind: str, path: str, details: tuple) -> None:
        if threading.current_thread() is threading.main_thread() or self._is_dead:
            self.pass_one()

    def pass_one(self, record: object = None) -> None:
        self.count += 1
        if self._is_dead:
            raise Killed

    @property
    def _is_dead(self) -> bool:
        return self.last is not None and self.count >= self.last

    def train(self, run_dir: Path) -> None:
        disk.install(self)
        try:
            go_on(run_dir, spiked_plan(), self.pass_one)
        finally:
            disk.install(None)


def killed_at(run_dir: Path, point: int) -> None:
    with pytest.raises(Killed):
        Points(point).train(run_dir)


# before it goes back, while it does and after; benchmarks/reliability kills whole runs at any moment
@pytest.mark.parametrize("point", [18, 45, 52, 59, 66, 90])
def test_a_run_killed_at_a_point_and_resumed_is_the_same(tmp_path, spiked, harmed, point):
    killed_at(tmp_path, point)
    go_on(tmp_path, spiked_plan())
    assert_same_run(tmp_path, spiked)


def test_a_run_killed_again_and_again_is_the_same(tmp_path, spiked, harmed):
    for point in (34, 3, 5, 2, 7):
        killed_at(tmp_path, point)
    go_on(tmp_path, spiked_plan())
    assert_same_run(tmp_path, spiked)


def test_a_real_kill_is_no_different(tmp_path, spiked, harmed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        go_on(
            tmp_path,
            spiked_plan(),
            lambda record: record["event"] == "rollback" and os.kill(os.getpid(), signal.SIGKILL),
        )
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    go_on(tmp_path, spiked_plan())
    assert_same_run(tmp_path, spiked)


@pytest.mark.parametrize("after", [11, 14])
def test_a_run_stopped_by_a_signal_is_the_same(tmp_path, spiked, harmed, after):
    """It saves at steps at which an unstopped run doesn't, and must not go back to those."""
    stop, events = StopRequest(), iter(range(after))

    def display(record):
        if record["event"] in ("step", "skipped", "rollback") and next(events, None) == after - 1:
            stop.signal_name = "SIGTERM"

    go_on(tmp_path, spiked_plan(), display, stop)
    go_on(tmp_path, spiked_plan())
    assert_same_run(tmp_path, spiked)


def test_a_damaged_checkpoint_after_going_back_costs_time_and_nothing_else(tmp_path, spiked, harmed):
    stop = StopRequest()
    go_on(tmp_path, spiked_plan(), lambda r: r["event"] == "rollback" and setattr(stop, "signal_name", "SIGTERM"), stop)
    path = list_checkpoints(tmp_path)[0][1] / "optim.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    go_on(tmp_path, spiked_plan())
    assert list(tmp_path.glob("checkpoints/damaged-*"))
    assert_same_run(tmp_path, spiked)


def test_a_fault_that_is_not_there_the_second_time_is_still_in_the_log(tmp_path, monkeypatch):
    """What the machine computed wrong once made a step bad; after a kill it is right, and the run must be the same."""
    bad = {6 * ROWS_PER_STEP}
    monkeypatch.setattr(
        "headwater.train.incidents.LiveDecisions.decide",
        lambda self, state, *found: "a fault" if state.rows_consumed in bad else None,
    )

    go_on(tmp_path / "whole", spiked_plan())

    def die(record):
        if record["event"] == "step" and record["step"] == 7:
            raise Killed

    with pytest.raises(Killed):
        go_on(tmp_path / "killed", spiked_plan(), die)
    bad.clear()
    go_on(tmp_path / "killed", spiked_plan())
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_a_log_of_other_settings_is_renamed_where_training_starts_again(tmp_path, spiked):
    (tmp_path / FILE).write_bytes((spiked / FILE).read_bytes())
    go_on(tmp_path, spiked_plan(lr=0.01))
    assert log_of(tmp_path) == []
    assert (tmp_path / f"old-1-{FILE}").read_bytes() == (spiked / FILE).read_bytes()
