"""One owner for a run folder; the lock dies with its process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from training_state import save_checkpoint, training_state

import headwater
from headwater.core.errors import ConfigError, LockedError
from headwater.core.files import read_json, remove_leftovers, write_json
from headwater.core.records import OWNER_CHECK_SECONDS, RunRecords, read_all
from headwater.train.checkpoint import lock
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.lock import is_owned, owned

HOLDER = """
import sys
from pathlib import Path
from headwater.train.checkpoint.lock import owned
from headwater.core.errors import LockedError
with owned(Path(sys.argv[1])) as owner:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        owner.require()
        print("mine", flush=True)
    except LockedError as error:
        print(error, flush=True)
"""


@contextmanager
def another_process_holds(run_dir: Path):
    environment = os.environ | {"PYTHONPATH": str(Path(headwater.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, run_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            yield holder
        finally:
            holder.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_dies_with_its_process(tmp_path, number):
    with another_process_holds(tmp_path) as holder:
        holder.send_signal(number)
        holder.wait(timeout=30)
        with owned(tmp_path):
            assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_what_is_refused_before_it_wrote_anything_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError), owned(tmp_path / "run"):
        raise ConfigError("no such text")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError), owned(tmp_path / "run"):
        (tmp_path / "run" / "config.json").touch()
        raise ConfigError("no memory")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "lock", "epoch"}


# ---- epochs and takeovers


def epoch(run_dir: Path) -> int:
    return read_json(run_dir / "epoch")["epoch"]


def say_line(process: subprocess.Popen[bytes]) -> str:
    """Let a holder continue, and return what it says then."""
    process.stdin.write(b"\n")
    process.stdin.flush()
    return process.stdout.readline().decode()


def test_the_epoch_never_falls_even_when_its_file_is_damaged(tmp_path):
    (tmp_path / "lock").write_text("x" * 500)
    for number in (1, 2, 3):
        with owned(tmp_path) as stale:
            assert epoch(tmp_path) == number
            assert read_json(tmp_path / "lock") == stale.claim, "all that was left there is replaced"
            stale.require()
    (tmp_path / "epoch").write_bytes(b"\xff")
    with owned(tmp_path) as owner:
        assert owner.claim["epoch"] == 4
    (tmp_path / "epoch").write_bytes(b"{}")
    (tmp_path / "lock").write_bytes(b"")
    for _ in range(3):
        with owned(tmp_path):
            pass
    assert epoch(tmp_path) == stale.claim["epoch"], "both files lost: counted from 1 again"
    with pytest.raises(LockedError, match="taken over"):
        stale.require()


CLAIMED = [({}, "process PID "), ({"host": "elsewhere"}, "process PID on elsewhere"), (b"\xff", "another process")]


@pytest.mark.parametrize(("said", "refusal"), CLAIMED)
def test_a_lock_that_is_held_refuses_by_name(tmp_path, said, refusal):
    with another_process_holds(tmp_path):
        claim = read_json(tmp_path / "lock")
        (tmp_path / "lock").write_bytes(said if isinstance(said, bytes) else json.dumps(claim | said).encode())
        with pytest.raises(LockedError, match=refusal.replace("PID", str(claim["pid"]))), owned(tmp_path):
            pass


def test_a_stopped_owner_whose_lock_is_removed_finds_itself_out_when_revived(tmp_path):
    with another_process_holds(tmp_path) as holder:
        holder.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        with pytest.raises(LockedError, match=rf"`kill -9 {holder.pid}` .* remove .*lock$"), owned(tmp_path):
            pass
        (tmp_path / "lock").unlink()
        with owned(tmp_path) as owner:
            assert epoch(tmp_path) == 2
            holder.send_signal(signal.SIGCONT)
            assert f"taken over by process {os.getpid()} on " in say_line(holder)
            assert holder.wait(timeout=30) == 0
            owner.require()  # the stale owner's end takes nothing from the new one
            with pytest.raises(LockedError, match=f"process {os.getpid()} "), owned(tmp_path):
                pass


def test_a_lock_that_was_replaced_while_it_was_waited_for_is_not_held(tmp_path, monkeypatch):
    (tmp_path / "lock").write_text("")
    replaced, locks = tmp_path / "replaced", lock.fcntl.flock

    def replace_once(handle, how):
        if not replaced.exists():
            (tmp_path / "lock").rename(replaced)
        locks(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", replace_once)
    with owned(tmp_path) as owner:
        assert read_json(tmp_path / "lock") == owner.claim
        assert replaced.read_text() == ""


def test_a_stale_owner_commits_no_checkpoint_and_no_record(tmp_path):
    with owned(tmp_path) as stale:
        seconds = iter(range(0, 1000, int(OWNER_CHECK_SECONDS)))
        records = RunRecords(tmp_path / "records.jsonl", lambda: float(next(seconds)))
        records.append("step", 1)
        save_checkpoint(tmp_path, 1, *training_state(1))
        write_json(tmp_path / "epoch", stale.claim | {"epoch": 2, "pid": 7})
        with pytest.raises(LockedError, match=r"taken over by process 7 .*epoch 1"):
            records.append("step", 2)
        with pytest.raises(LockedError, match="taken over"):
            save_checkpoint(tmp_path, 2, *training_state(2))
    records.close()
    assert [record["step"] for record in read_all(tmp_path / "records.jsonl")] == [1]
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("number", "refused", "words"), [(errno.EIO, OSError, "Input/output"), (errno.ENOSYS, LockedError, "flock")]
)
def test_a_file_system_that_gives_no_lock_is_refused_and_leaks_no_handle(tmp_path, monkeypatch, number, refused, words):
    def flock(handle, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(refused, match=words), owned(tmp_path):
        pass
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_run_has_an_owner_as_long_as_its_process_lives(tmp_path):
    assert is_owned(tmp_path) is False
    with another_process_holds(tmp_path) as holder:
        for _ in range(50):  # who asks is in nobody's way
            assert is_owned(tmp_path)
        with pytest.raises(LockedError), owned(tmp_path):
            pass
        holder.kill()
        holder.wait(timeout=30)
        assert is_owned(tmp_path) is False
    claim = read_json(tmp_path / "lock")
    write_json(tmp_path / "lock", claim | {"host": "elsewhere"})
    assert is_owned(tmp_path) is None
    with owned(tmp_path):
        assert is_owned(tmp_path)
    assert is_owned(tmp_path) is False


def test_an_owner_that_is_taken_over_in_the_middle_of_a_save_commits_nothing(tmp_path):
    with owned(tmp_path) as stale:
        calls: list[None] = []

        def taken_over_at_the_commit() -> None:
            calls.append(None)
            if len(calls) == 2:
                remove_leftovers(tmp_path / "checkpoints")  # as the next owner does
                write_json(tmp_path / "epoch", stale.claim | {"epoch": 2, "pid": 7})
            stale.require()

        with pytest.raises(LockedError, match="taken over by process 7"):
            save_checkpoint(tmp_path, 1, *training_state(1), taken_over_at_the_commit)
    assert list_checkpoints(tmp_path) == []
