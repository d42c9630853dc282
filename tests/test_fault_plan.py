"""The plan of faults: each kind does what it says, at the operation it says, and nothing without a plan."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_plan import CRASHED, faults
from small_run import run

from headwater.core import disk


def work(folder: Path) -> None:
    """Do nine operations, one of each kind."""
    disk.make_folder(folder / "a")
    with disk.open_file(folder / "a" / "file", "xb") as file:
        file.write(b"0123456789")
        disk.sync(file)
    disk.rename(folder / "a" / "file", folder / "a" / "b")
    disk.link(folder / "link", "a")
    disk.unlink(folder / "link")
    with disk.open_unbuffered(folder / "a" / "b", "r+b") as file:
        file.truncate(4)
    disk.remove_tree(folder / "a" / "b")


KINDS = ["mkdir", "open", "write", "sync", "rename", "symlink", "unlink", "open", "truncate", "unlink"]


def test_operations_are_counted_in_order(tmp_path):
    with faults("") as plan:
        work(tmp_path)
    assert plan.operations == KINDS
    work(tmp_path / "a")
    assert plan.operations == KINDS, "nothing is counted after the block"


@pytest.mark.parametrize("number", range(1, len(KINDS) + 1))
def test_an_error_comes_at_its_operation_and_once(tmp_path, number):
    with faults(f"errno=EDQUOT@{number}") as plan, pytest.raises(OSError) as caught:
        work(tmp_path)
    assert caught.value.errno == errno.EDQUOT
    # closing a file writes what its buffer still holds
    assert len(plan.operations) == number + (KINDS[number - 1] == "write")


def test_a_lasting_error_comes_again(tmp_path):
    with faults("errno=EIO@2+"):
        disk.make_folder(tmp_path / "a")
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output"):
                disk.make_folder(tmp_path / "b")


@pytest.mark.parametrize(("plan", "content"), [("torn@2", b"01234"), ("crash@2", b""), ("crash@3", b"0123456789")])
def test_a_crash_ends_the_process_and_leaves_what_was_written(tmp_path, plan, content):
    program = (
        "import sys; from pathlib import Path; from headwater.core import disk; from fault_plan import FaultPlan\n"
    )
    program += "disk.install(FaultPlan.parse(sys.argv[2]))\n"
    program += "with disk.open_file(Path(sys.argv[1]), 'xb') as file: file.write(b'0123456789'); disk.sync(file)"
    paths = [str(Path(disk.__file__).parents[2]), str(Path(__file__).parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "a", plan], env=environment, timeout=60)
    assert done.returncode == CRASHED
    assert (tmp_path / "a").read_bytes() == content


def test_a_short_write_is_gone_on_with(tmp_path):
    with faults("short@2"), disk.open_file(tmp_path / "a", "xb") as file:
        file.write(b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_flip_changes_one_bit(tmp_path):
    with faults("flip@2"), disk.open_file(tmp_path / "a", "xb") as file:
        file.write(bytes(10))
    assert sum(byte.bit_count() for byte in (tmp_path / "a").read_bytes()) == 1


@pytest.mark.parametrize(
    ("kind", "status", "content"), [("torn", CRASHED, b"01234"), ("short", 0, b"0123456789"), ("flip", 0, None)]
)
def test_a_file_that_is_rewritten_meets_the_same_faults(tmp_path, kind, status, content):
    path = tmp_path / "lock"
    path.write_bytes(b"what an earlier owner left")
    child = os.fork()
    if child == 0:
        with faults(f"{kind}@3"):
            disk.rewrite(disk.open_lock(path), path, b"0123456789")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    found = path.read_bytes()
    if content is None:
        assert sum((a ^ b).bit_count() for a, b in zip(found, b"0123456789", strict=True)) == 1
    else:
        assert found == content


def test_the_environment_installs_a_plan_for_a_command(tmp_path):
    (tmp_path / "text").write_text("a word or two\n" * 99)
    said = run("new", "x", "--text", "text", cwd=tmp_path, HEADWATER_FAULTS="errno=EROFS@1")
    assert said.status == 1
    assert "can't write x.toml: Read-only file system" in said.err
