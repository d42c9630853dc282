"""What all ranks refuse, the first of a machine says, once for all restarts, and torchrun ends with what that says."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from many_ranks import calling, start_programs
from small_run import call, finish, run, write_run_file, write_texts
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from headwater.cli import main


def refused(tmp_path: Path, rank: int, setting: str) -> str:
    """Return what one of a machine's two ranks says, started as torchrun does, of a run that it can't begin."""
    path = tmp_path / "given" / "attempt_0" / str(rank) / "error.json"
    path.parent.mkdir(parents=True)
    place = {"RANK": str(2 + rank), "WORLD_SIZE": "4", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    said = run("train", "first-light", setting, cwd=tmp_path, TORCHELASTIC_ERROR_FILE=str(path), **place)
    assert said.status == 2, said
    return said.err


def test_the_first_rank_of_a_machine_says_it_and_nothing_is_left_behind(tmp_path):
    needs = "parallel.shard = 3 needs 3 ranks or a multiple of 3, and there are 4"
    assert needs in refused(tmp_path, 0, "parallel.shard=3")
    assert refused(tmp_path, 1, "parallel.shard=3") == ""
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_what_the_system_refuses_a_rank_reaches_the_launcher(tmp_path, monkeypatch):
    path = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))

    def refuse(_verb):
        raise OSError(errno.EMFILE, "Too many open files", "mine.toml")

    monkeypatch.setattr(main, "command_line", refuse)
    said = call("train", "mine.toml", cwd=tmp_path)
    assert (said.status, said.err) == (1, "headwater: mine.toml: Too many open files\n")
    assert json.loads(path.read_text())["message"]["message"] == "mine.toml: Too many open files"


def test_torchruns_summary_ends_with_the_reason(tmp_path):
    """As torch itself formats what a rank has left."""
    path = tmp_path / "error.json"
    said = run("train", "first-light", "parallel.shard=3", cwd=tmp_path, TORCHELASTIC_ERROR_FILE=str(path))
    assert said.status == 2, said
    failure = ProcessFailure(local_rank=0, pid=7, exitcode=2, error_file=str(path))
    last = ChildFailedError("headwater", {0: failure}).format_msg().split("traceback :")[-1]
    assert "parallel.shard = 3 needs 3 ranks or a multiple of 3, and this process is alone" in " ".join(last.split())
    assert max(map(len, last.splitlines())) < 110


def test_a_restart_says_only_what_was_not_said_before_it(tmp_path):
    def refusal(start: int, setting: str) -> str:
        path = tmp_path / f"attempt_{start}" / "0" / "error.json"
        path.parent.mkdir(parents=True)
        place = {"TORCHELASTIC_ERROR_FILE": str(path), "TORCHELASTIC_RESTART_COUNT": str(start)}
        said = run("train", "first-light", setting, cwd=tmp_path, **place)
        assert said.status == 2 and len(path.read_text()) > 100, said
        return said.err

    assert "train.bath = 3: unknown setting" in refusal(0, "train.bath=3")
    assert refusal(1, "train.bath=3") == ""
    assert "train.bush = 3: unknown setting" in refusal(2, "train.bush=3")


# as a disk does that fails when the text is prepared: each rank finds the damage before its first step
DAMAGED = """
from headwater.runs import finish
opened = finish.open_held_out

def damaged(config):
    for path in (config.folders.tokens / "validation").rglob("*.bin"):
        with path.open("r+b") as file:
            file.write(bytes(64))
    return opened(config)

finish.open_held_out = damaged
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_damaged_held_out_text_is_said_by_the_first_rank_alone(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", train__num_steps=4)
    first, second = map(finish, start_programs([DAMAGED + calling("train", "mine.toml")] * 2, tmp_path))
    assert (first.status, second.status) == (1, 1)
    assert first.err.count("validation") == 1 and "is damaged" in first.err, first
    assert (second.out, second.err) == ("", ""), second
    assert "is damaged" in (tmp_path / "runs/mine/logs/rank-1.log").read_text()
