"""What all ranks refuse, the first of a machine says, once for all restarts, and torchrun ends with what that says."""

from __future__ import annotations

import errno
import json
from pathlib import Path

from small_run import call, run

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
