"""`headwater train RUN --replay`, and what --stop-within does to the exit status."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
from small_run import call, overrides, write_run_file, write_texts

from headwater.cli.progress import TrainingDisplay
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
