"""A run that was harmed goes back, skips the rows and comes to the same end, whatever stops it on the way."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from fault_plan import CRASHED, die, status_under
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from spiked_run import HARMED, NUM_STEPS, assert_same_run, end_of, go_on, log_of, plant, spiked_plan, what_counts
from tiny_run import ROWS_PER_STEP, MadeUpRows, begin

from headwater.core.errors import TrainingError
from headwater.core.records import read_all, read_records
from headwater.machine.host.signals import StopRequest
from headwater.tokens.skipped_rows import FILE, read_interventions
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.load import read_checkpoint


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


@pytest.mark.parametrize(
    ("harmed_step", "save_every", "backs"),
    [
        (HARMED, 4, [(10, 8)]),
        (7, 4, [(8, 8), (8, 4)]),  # after the step that did it the run saved: that checkpoint is gone back to once
        (5, 10, [(6, 0)]),  # before the first save: it starts again with other rows
    ],
)
def test_a_run_goes_back_to_the_checkpoint_before_the_harm_and_ends(
    tmp_path, monkeypatch, harmed_step, save_every, backs
):
    plant(monkeypatch, harmed_step)
    assert go_on(tmp_path, spiked_plan(save_every=save_every)).step == NUM_STEPS
    found = [entry for entry in read_interventions(tmp_path) if entry["kind"] == "rollback"]
    assert [(entry["from_step"], entry["to_step"]) for entry in found] == backs
    assert all(math.isfinite(record["loss"]) for record in read_records(tmp_path / "records.jsonl", "step"))


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


def train_to_the_end(run_dir: Path, *given: object) -> None:
    go_on(run_dir, spiked_plan(), *given)


def crashed_after(event: str, step: int, run_dir: Path) -> None:
    """Let a process die right after it wrote a record."""
    what = event, step
    die("", lambda: train_to_the_end(run_dir, lambda r: (r["event"], r["step"]) == what and os._exit(CRASHED)))


def signalled_after(num_events: int, run_dir: Path) -> None:
    """Stop the run after so many steps, skipped ones and rollbacks, at which an unstopped run doesn't save."""
    stop, events = StopRequest(), iter(range(num_events))

    def display(record):
        if record["event"] in ("step", "skipped", "rollback") and next(events, None) == num_events - 1:
            stop.signal_name = "SIGTERM"

    train_to_the_end(run_dir, display, stop)


def damaged_after_going_back(run_dir: Path) -> None:
    signalled_after(14, run_dir)
    assert read_interventions(run_dir)[-1]["kind"] == "rollback"
    path = list_checkpoints(run_dir)[0][1] / "optim.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")


STOPS = {  # before it goes back, while it does and after; benchmarks/reliability kills whole runs at any moment
    "killed when it has gone back": partial(crashed_after, "rollback", 8),
    "stopped when it skips": partial(signalled_after, 11),
    "stopped when it has gone back": partial(signalled_after, 14),
    "a damaged checkpoint after going back": damaged_after_going_back,
}


@pytest.mark.parametrize("stop", STOPS)
def test_whatever_stops_it_on_the_way_the_run_is_the_same(tmp_path, spiked, harmed, stop):
    STOPS[stop](tmp_path)
    train_to_the_end(tmp_path)
    assert_same_run(tmp_path, spiked)
    assert bool(list(tmp_path.glob("checkpoints/damaged-*"))) == ("damaged" in stop)


@settings(max_examples=1, phases=(Phase.explicit, Phase.generate))
@given(st.lists(st.integers(30, 150), min_size=1, max_size=2))
@example([98, 3, 25])
def test_killed_at_any_operations_on_the_disk_the_run_is_the_same(tmp_path_factory, spiked, operations):
    run_dir = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, HARMED)
        for operation in operations:  # of which a later process may have fewer
            assert status_under(f"crash@{operation}", lambda: train_to_the_end(run_dir)) in (0, CRASHED)
        train_to_the_end(run_dir)
    assert_same_run(run_dir, spiked)
    assert not list(run_dir.glob("checkpoints/damaged-*"))


def test_a_fault_that_is_not_there_the_second_time_is_still_in_the_log(tmp_path, monkeypatch):
    """What the machine computed wrong once made a step bad; after a kill it is right, and the run must be the same."""
    bad = {6 * ROWS_PER_STEP}
    monkeypatch.setattr(
        "headwater.train.incidents.LiveDecisions.decide",
        lambda self, state, *found: "a fault" if state.rows_consumed in bad else None,
    )

    go_on(tmp_path / "whole", spiked_plan())

    crashed_after("step", 7, tmp_path / "killed")
    bad.clear()
    go_on(tmp_path / "killed", spiked_plan())
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_a_log_of_other_settings_is_renamed_where_training_starts_again(tmp_path, spiked):
    (tmp_path / FILE).write_bytes((spiked / FILE).read_bytes())
    go_on(tmp_path, spiked_plan(lr=0.01))
    assert log_of(tmp_path) == []
    assert (tmp_path / f"old-1-{FILE}").read_bytes() == (spiked / FILE).read_bytes()
