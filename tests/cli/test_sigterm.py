"""SIGTERM while a run is prepared, trained or finished, and `headwater train RUN --replay`."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
from many_ranks import calling, slowly, start_each
from small_run import call, command, finish, overrides, write_run_file, write_texts

from headwater.cli.progress import TrainingDisplay
from headwater.core.errors import LostRanksError
from headwater.train.checkpoint.layout import list_checkpoints

STAGES = {
    "corpus": "headwater.corpus.build.build_corpus",
    "tokenizer": "headwater.tokens.tokenizer.train.train_tokenizer",
    "tokens": "headwater.tokens.build.build_tokens",
    "evaluation": "headwater.evaluate.evaluator.full_evaluation",
    "baselines": "headwater.evaluate.baselines.measure_baselines",
    "export": "headwater.export.hf.export_hf",
    "report": "headwater.page.report.page.render_report",
}
LAST_LINE = "headwater: stopped by SIGTERM; run the same command to resume"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    write_texts(folder / "texts")
    write_run_file(folder / "mine.toml", train__num_steps=4)
    return folder


def terminated(*_: object, **__: object) -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_stopped_is_named_and_the_run_can_go_on(folder, stage):
    with mock.patch(STAGES[stage], terminated):
        said = call("run", "mine.toml", cwd=folder)
    assert said.status == 75, said
    assert said.err.splitlines()[-2:] == [f"the stage {stage} was stopped before its end", LAST_LINE]
    assert "Traceback" not in said.err


def test_an_error_that_came_before_the_signal_is_said_too(tmp_path):
    """A rank that has lost another gets its launcher's SIGTERM while it leaves."""

    def lost(*_: object, **__: object) -> None:
        try:
            raise LostRanksError("rank 1 of 2 died")
        finally:
            terminated()

    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml")
    with mock.patch(STAGES["corpus"], lost):
        said = call("run", "mine.toml", cwd=tmp_path)
    assert said.status == 75, said
    assert said.err.splitlines()[-2:] == ["rank 1 of 2 died", LAST_LINE]


on_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes can't be looked into here")


def maps(pid: int) -> str:
    path = Path(f"/proc/{pid}/maps")
    return path.read_text() if path.exists() else ""


@on_linux
def test_ranks_that_wait_for_the_first_to_prepare_the_data_end_with_it(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml")
    slow = [sys.executable, "-c", slowly(calling("train", "mine.toml"), 0.5, 20)]
    first, second = start_each([slow, command("train", "mine.toml")], tmp_path)
    # it needs torch for nothing but to join, which the first does when the data is there
    while not ("libtorch" in maps(second.pid) and (tmp_path / "runs/mine/lock").exists()):
        assert first.poll() is None, finish(first)
        time.sleep(0.1)
    for process in (first, second):
        process.send_signal(signal.SIGTERM)
    said = [finish(process) for process in (first, second)]
    assert [one.status for one in said] == [75, 75], "\n".join(map(str, said))
    assert said[0].err.splitlines()[-1] == LAST_LINE, said[0]
    assert LAST_LINE not in said[1].err, said[1]  # once a machine


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
