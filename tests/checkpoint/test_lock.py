"""One owner for a run folder; the lock dies with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import headwater
from headwater.checkpoint.lock import owned
from headwater.errors import LockedError, StorageError

HOLDER = """
import sys, time
from pathlib import Path
from headwater.checkpoint.lock import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
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


def test_a_second_process_is_refused_with_the_first_ones_number(tmp_path):
    with another_process_holds(tmp_path) as holder:
        message = rf"in use by process {holder.pid} on .*; wait for it, stop it, or"
        with pytest.raises(LockedError, match=message), owned(tmp_path):
            pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_dies_with_its_process(tmp_path, number):
    with another_process_holds(tmp_path) as holder:
        holder.send_signal(number)
        holder.wait(timeout=30)
        with owned(tmp_path):
            assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_the_lock_is_free_after_the_block_also_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), owned(tmp_path / "new" / "run"):
        raise ZeroDivisionError
    with owned(tmp_path / "new" / "run"):
        pass


def test_the_same_process_cannot_own_it_twice(tmp_path):
    with owned(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()} "), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_an_unreadable_lock_file_still_refuses(tmp_path):
    with owned(tmp_path):
        (tmp_path / "lock").write_bytes(b"\xff")
        with pytest.raises(LockedError, match="in use by another process"), owned(tmp_path):
            pass


def test_what_an_earlier_owner_left_in_the_file_is_replaced(tmp_path):
    (tmp_path / "lock").write_text("x" * 500)
    with owned(tmp_path):
        assert (tmp_path / "lock").read_text().endswith("}")


def test_a_run_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another output folder"), owned(tmp_path / "file"):
        pass
