"""`headwater train RUN --replay`, and what --stop-within does to the exit status."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
from small_run import call, overrides, write_run_file, write_texts

from headwater.cli.progress import TrainingDisplay
from headwater.train import step as step_module
from headwater.train.checkpoint.layout import list_checkpoints


@pytest.fixture
def copy(finished, tmp_path):
    """A folder with a run file and its finished run, to be changed."""
    shutil.copytree(finished.cwd, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_a_run_is_replayed_bitwise_and_one_that_differs_fails_and_says_where_first(copy):
    def last_line(status: int) -> str:
        said = call("train", "mine.toml", *overrides(), "--replay", cwd=copy)
        assert said.status == status, said
        return said.out.splitlines()[-1]

    assert last_line(0).startswith("replayed bitwise: 24 steps, 0 interventions, state sha256:")
    path = copy / "runs/mine/records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for record in lines:
        if record["event"] == "step" and record["step"] >= 5:
            record["loss"] += 1e-9
    path.write_text("".join(json.dumps(record) + "\n" for record in lines))
    assert last_line(1).startswith("differs: step 5: loss was 0x")


@pytest.mark.slow
def test_a_run_that_went_back_names_the_documents_it_excluded_and_is_replayed(tmp_path, monkeypatch):
    """The rows of the 13th step are harmful: their update is 10,000 times too long."""
    honest, bad_row = step_module.train_step, 12 * 512 // 64

    def train_step(model, optimizer, microbatches, parallel, *, lr_factor, **rest):
        factor = 1e4 if microbatches[0].first_row == bad_row else 1
        return honest(model, optimizer, microbatches, parallel, lr_factor=factor * lr_factor, **rest)

    monkeypatch.setattr(step_module, "train_step", train_step)
    write_texts(tmp_path / "texts")
    guard = {"train__guard_window": 8, "train__guard_sigmas": 12, "train__max_bad_steps": 3}
    write_run_file(tmp_path / "mine.toml", **guard)
    ran = call("run", "mine.toml", cwd=tmp_path)
    assert ran.status == 0, ran
    assert ran.out.count("skipped") == 4, "three steps, and the reason to go back"
    assert "back from step 13 to step 8, sequences 64 to 127 excluded" in ran.out
    report = (tmp_path / "runs/mine/report.html").read_text()
    assert "Interventions" in report and "13, back to 8" in report
    said = call("train", "mine.toml", "--replay", cwd=tmp_path)
    assert said.status == 0, said
    *interventions, last = said.out.splitlines()[-5:]
    assert all("documents (mine: " in line for line in interventions)
    assert last.startswith("replayed bitwise: 24 steps, 4 interventions")


def test_sigterm_without_time_for_a_save_ends_with_75_and_the_last_checkpoint(tmp_path, monkeypatch):
    show = TrainingDisplay.__call__

    def show_and_terminate(display, record):
        show(display, record)
        if record["event"] == "step" and record["step"] == 8:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainingDisplay, "__call__", show_and_terminate)
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", train__save_every=3)
    said = call("train", "mine.toml", "--stop-within", "0", cwd=tmp_path)
    assert said.status == 75, said
    assert "without a save" in said.out and "run the same command to resume" in said.out
    assert list_checkpoints(tmp_path / "runs/mine")[0][0] == 6
