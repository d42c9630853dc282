"""Training to the end, stopping, dying and resuming: the records are those of a run that never stopped."""

from __future__ import annotations

import copy
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_rows import rows
from small_run import without_clock
from tiny_run import (
    ROWS_PER_STEP,
    SEQ_LEN,
    VOCAB_SIZE,
    CountingEvaluator,
    MadeUpRows,
    assembled,
    begin,
    plan,
    train_here,
    weight_sum,
)

from headwater.core.errors import CheckpointError
from headwater.core.records import read_records
from headwater.evaluate.bits_per_byte import measure_surprise
from headwater.evaluate.scorer import Scorer
from headwater.machine.host.signals import StopRequest
from headwater.machine.ranks.mesh import Mesh
from headwater.train import start
from headwater.train.checkpoint.layout import checkpoint_dir, list_checkpoints
from headwater.train.checkpoint.load import read_checkpoint
from headwater.train.loop import train
from headwater.train.settings import TrainSettings, probe_steps
from headwater.train.start import _say_other_layout

MEASUREMENTS = ("step", "validation", "probes", "samples")


def measurements(run_dir: Path) -> list[dict]:
    records = [record for record in read_records(run_dir / "records.jsonl") if record["event"] in MEASUREMENTS]
    return without_clock(records)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train_here(folder, plan())
    return folder


def weights(run_dir: Path, step: int) -> dict[str, torch.Tensor]:
    checkpoint = read_checkpoint(checkpoint_dir(run_dir, step))
    return checkpoint.model | checkpoint.optim


def assert_same_end(run_dir: Path, whole: Path) -> None:
    assert measurements(run_dir) == measurements(whole)
    ours, theirs = weights(run_dir, 12), weights(whole, 12)
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]


def test_every_step_is_recorded_once_with_what_it_needs(whole):
    steps = read_records(whole / "records.jsonl", "step")
    assert [record["step"] for record in steps] == list(range(1, 13))
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.5, "it learns"
    assert [record["tokens_seen"] for record in steps] == [ROWS_PER_STEP * SEQ_LEN * step for step in range(1, 13)]
    needed = {"loss", "lr", "grad_norm", "tokens_per_second", "mfu", "seconds", "data_wait_fraction"}
    assert all(needed <= record.keys() for record in steps)
    assert steps[0]["lr"] == pytest.approx(0.02 / 3), "the first step of a warm-up of three"
    run = assembled(whole, plan(), MadeUpRows())
    run.records.close()
    assert read_records(whole / "records.jsonl", "validation")[-1]["weights"] == weight_sum(run.prepared.model)


def test_measurements_come_when_they_are_due(whole):
    probed = [record["step"] for record in read_records(whole / "records.jsonl", "probes")]
    assert probed == probe_steps(plan().train)
    validations = [record["step"] for record in read_records(whole / "records.jsonl", "validation")]
    assert validations == sorted({3, 6, 9, 12, *probed})


def test_every_save_is_recorded_once_it_is_on_disk(whole):
    records = read_records(whole / "records.jsonl", "checkpoint")
    assert [record["step"] for record in records] == [4, 8, 12]
    assert all(record["seconds"] >= 0 and record["background_seconds"] > 0 for record in records)
    assert [step for step, _ in list_checkpoints(whole)] == [12, 8]


def test_a_run_stopped_and_resumed_ends_the_same(tmp_path, whole):
    """Also measured by another plan, and keeping more checkpoints, the last of which the resume removes."""
    stop_after = 9
    train_here(tmp_path, plan(keep_checkpoints=3, save_every=3), stop_after=stop_after)
    assert read_records(tmp_path / "records.jsonl", "stopped")[0]["step"] == stop_after
    assert [step for step, _ in list_checkpoints(tmp_path)] == [9, 8, 6, 3], "8: where the decay begins"
    train_here(tmp_path, plan())
    assert [step for step, _ in list_checkpoints(tmp_path)] == [12, 9, 8]
    assert_same_end(tmp_path, whole)


def test_a_resume_begins_in_the_state_that_was_saved(tmp_path):
    run, stop = begin(tmp_path, plan()), StopRequest()
    end = train(run, None, lambda record: record["step"] == 7 and setattr(stop, "signal_name", "SIGTERM"), stop)
    run.records.close()
    resumed = begin(tmp_path, plan())
    resumed.records.close()
    assert resumed.start == end
    assert (end.step, end.rows_consumed, end.tokens_seen) == (7, 7 * ROWS_PER_STEP, 7 * ROWS_PER_STEP * SEQ_LEN)
    assert len(end.history.losses) == len(end.history.grad_norms) == 7


def test_an_evaluation_that_dies_loses_no_step(tmp_path, whole):
    class Dying(CountingEvaluator):
        def validate(self, model, forward):
            if len(self.calls) >= 4:
                raise MemoryError
            return super().validate(model, forward)

    with pytest.raises(MemoryError):
        train_here(tmp_path, plan(save_every=1), evaluator=Dying())
    train_here(tmp_path, plan(save_every=1))
    assert_same_end(tmp_path, whole)


def test_a_validation_is_given_the_forward_pass_that_training_runs(tmp_path, monkeypatch):
    calls = []

    def fastest_(model, facts):
        fast = copy.copy(model)
        fast.hidden = lambda *inputs: calls.append(torch.is_grad_enabled()) or model.hidden(*inputs)
        return fast

    class Measuring(CountingEvaluator):
        def validate(self, model, forward):
            batch = MadeUpRows().rows(0, 2)
            found = measure_surprise(Scorer(model, forward=forward), [batch], np.ones(VOCAB_SIZE, np.int64))
            return super().validate(model, forward) | {"nats": found.nats}

    monkeypatch.setattr(start, "fastest_", fastest_)
    train_here(tmp_path, plan(num_steps=2, validate_every=2, num_probes=0), evaluator=Measuring())
    assert calls == [True] * 4 + [False], "two microbatches a step, then one batch without gradients"


# ---- what a run refuses


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The folder of a run that was stopped after a step."""
    train_here(folder := tmp_path_factory.mktemp("begun"), plan(), stop_after=1)
    return folder


@pytest.mark.parametrize(("choices", "named"), rows("a_checkpoint_of_other_settings_or_rows_is_refused"))
def test_a_checkpoint_of_other_settings_or_rows_is_refused_with_both_values(begun, choices, named):
    rows = MadeUpRows(choices.pop("rows", "made up"))
    with pytest.raises(CheckpointError, match=named):
        begin(begun, plan(**choices), rows)


@pytest.mark.parametrize(
    "choices", [{"save_every": 2}, {"validate_every": 7}, {"num_probes": 0}, {"keep_checkpoints": 5}]
)
def test_what_decides_no_weight_may_change(begun, choices):
    run = begin(begun, plan(**choices))
    run.records.close()
    assert run.start.step == 1


@pytest.mark.parametrize("num_steps", [1, 3, 150, 12345])
@pytest.mark.parametrize("num_probes", [0, 1, 2, 9])
def test_probes_end_at_the_last_step_and_their_distances_grow(num_steps, num_probes):
    settings = TrainSettings(
        num_steps=num_steps, batch_tokens=1, microbatch_tokens=1, save_every=1, validate_every=1, num_probes=num_probes
    )
    steps = probe_steps(settings)
    assert len(steps) <= num_probes
    assert steps[-1:] == [num_steps][:num_probes]
    assert all(1 <= step <= num_steps for step in steps)
    if num_probes == 9 and num_steps >= 1000:
        assert len(steps) == 9
        distances = [later - earlier for earlier, later in pairwise(steps)]
        assert distances == sorted(distances)


@pytest.mark.parametrize(
    ("before", "mesh", "said"),
    [
        (Mesh(replicate=2, shard=2), Mesh(replicate=2, shard=2), ""),
        (Mesh(replicate=2), Mesh(shard=2), "2 ranks before (replicate 2, shard 1) and 2 now (replicate 1, shard 2)"),
        (Mesh(shard=2), Mesh(shard=4), "2 ranks before (replicate 1, shard 2) and 4"),
    ],
)
def test_a_resume_in_another_layout_is_said_to_have_other_last_bits(before, mesh, said):
    lines: list[str] = []
    _say_other_layout({"mesh": asdict(before)}, mesh, lines.append)
    assert len(lines) == bool(said)
    assert said in "".join(lines)
