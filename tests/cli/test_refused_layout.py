"""What all ranks refuse, the first of a machine says, once for all restarts, and torchrun ends with what that says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from many_ranks import calling, start_programs
from small_run import environment, finish, write_run_file, write_texts
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_rank_says_it_and_nothing_is_left_behind(tmp_path, rank):
    command = [sys.executable, "-m", "headwater", "train", "first-light", "parallel.shard=3"]
    place = environment(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2")
    done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
    assert done.returncode == 2, done
    said = "parallel.shard = 3 needs 3 ranks or a multiple of 3, and there are 2; start 3 with torchrun"
    assert (said in done.stderr) == (rank == 0), done
    assert done.stderr == "" or rank == 0
    assert list(tmp_path.iterdir()) == []


def test_torchruns_summary_ends_with_the_reason(tmp_path):
    """As torch itself formats what a rank has left."""
    path = tmp_path / "error.json"
    command = [sys.executable, "-m", "headwater", "train", "first-light", "parallel.shard=3"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(TORCHELASTIC_ERROR_FILE=str(path)), capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    failure = ProcessFailure(local_rank=0, pid=7, exitcode=2, error_file=str(path))
    last = ChildFailedError("headwater", {0: failure}).format_msg().split("traceback :")[-1]
    assert "parallel.shard = 3 needs 3 ranks or a multiple of 3, and this process is alone" in " ".join(last.split())
    assert max(map(len, last.splitlines())) < 110


def test_a_restart_says_only_what_was_not_said_before_it(tmp_path):
    def refusal(start: int, setting: str) -> str:
        path = tmp_path / f"attempt_{start}" / "0" / "error.json"
        path.parent.mkdir(parents=True)
        place = environment(TORCHELASTIC_ERROR_FILE=str(path), TORCHELASTIC_RESTART_COUNT=str(start))
        command = [sys.executable, "-m", "headwater", "train", "first-light", setting]
        done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
        assert done.returncode == 2, done
        assert len(path.read_text()) > 100, path.read_text()
        return done.stderr

    assert "train.bath = 3: unknown setting" in refusal(0, "train.bath=3")
    assert refusal(1, "train.bath=3") == ""
    assert "train.bush = 3: unknown setting" in refusal(2, "train.bush=3")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_wrong_setting_is_said_by_the_first_rank_of_a_machine(tmp_path, rank):
    command = [sys.executable, "-m", "headwater", "train", "first-light", "train.bath=3"]
    place = environment(RANK=str(2 + rank), WORLD_SIZE="4", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2")
    done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
    assert done.returncode == 2, done
    assert ("train.bath = 3: unknown setting" in done.stderr) == (rank == 0), done
    assert done.stderr == "" or rank == 0


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
