"""The plan of faults: each kind does what it says, at the operation it says, and nothing without a plan."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from fault_plan import CRASHED, faults, status_under
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


@pytest.mark.parametrize("number", range(1, len(KINDS) + 1))
def test_an_error_comes_at_its_operation_and_once(tmp_path, number):
    with faults(f"errno=EDQUOT@{number}") as plan, pytest.raises(OSError) as caught:
        work(tmp_path)
    assert caught.value.errno == errno.EDQUOT
    # closing a file writes what its buffer still holds
    assert len(plan.operations) == number + (KINDS[number - 1] == "write")


DIGITS = b"0123456789"


def write_new(path: Path) -> None:
    with disk.open_file(path, "xb") as file:
        file.write(DIGITS)
        disk.sync(file)


def rewrite(path: Path) -> None:
    path.write_bytes(b"what an earlier owner left")
    disk.rewrite(disk.open_lock(path), path, DIGITS)


@pytest.mark.parametrize(
    ("write", "plan", "status", "content"),
    [
        (write_new, "torn@2", CRASHED, DIGITS[:5]),
        (write_new, "crash@2", CRASHED, b""),
        (write_new, "crash@3", CRASHED, DIGITS),
        (write_new, "short@2", 0, DIGITS),
        (write_new, "flip@2", 0, None),
        (rewrite, "torn@3", CRASHED, DIGITS[:5]),
        (rewrite, "short@3", 0, DIGITS),
        (rewrite, "flip@3", 0, None),
    ],
)
def test_a_write_meets_its_fault_and_leaves_what_was_written(tmp_path, write, plan, status, content):
    """What was cut short is gone on with; of what was flipped one bit is another."""
    assert status_under(plan, lambda: write(tmp_path / "a")) == status
    found = (tmp_path / "a").read_bytes()
    if content is None:
        assert sum((a ^ b).bit_count() for a, b in zip(found, DIGITS, strict=True)) == 1
    else:
        assert found == content


def test_the_environment_installs_a_plan_for_a_command(tmp_path):
    (tmp_path / "text").write_text("a word or two\n" * 99)
    said = run("new", "x", "--text", "text", cwd=tmp_path, HEADWATER_FAULTS="errno=EROFS@1")
    assert said.status == 1
    assert "can't write x.toml: Read-only" in said.err
