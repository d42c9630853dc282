"""SIGTERM while a run is prepared or finished: said, exit status 75, and the same command resumes."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from unittest import mock

import pytest
from many_ranks import start_each
from small_run import call, command, finish, write_run_file, write_texts

from headwater.core.errors import LostRanksError

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
    first, second = start_each([command("train", "mine.toml")] * 2, tmp_path, HEADWATER_FAULTS="delay=0.5@20+")
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
