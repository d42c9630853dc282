"""The simulated disk that the power is cut of: it keeps what was flushed, and may lose all else."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest
from fault_plan import FaultPlan

from headwater.core import disk, files

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "reliability"))

from unflushed import ForgetfulDisk


def states(root: Path, work, tmp_path: Path, num: int = 300) -> list[dict[str, bytes]]:
    """Return what power cuts after the last operation of `work` may leave of `root`."""
    simulated = ForgetfulDisk(root)
    plan = FaultPlan(journal=[])
    disk.install(plan)
    try:
        work()
    finally:
        disk.install(None)
    for operation in plan.journal:
        simulated.do(operation)
    found = []
    for number in range(num):
        target = tmp_path / f"left-{number}"
        simulated.cut(Random(number), target)
        found.append({str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()})
    return found


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "old").write_bytes(b"old")
    return tmp_path / "root"


def test_what_was_committed_is_left_whole_and_alone(root, tmp_path):
    def work():
        files.write_bytes(root / "a", b"new")
        with files.new_folder(root / "folder") as folder, files.create(folder / "b") as file:
            file.write(b"inner")

    expected = {"old": b"old", "a": b"new", "folder/b": b"inner"}
    assert all(state == expected for state in states(root, work, tmp_path, 30))


def append_unflushed(root: Path) -> None:
    with disk.open_unbuffered(root / "old", "ab") as file:
        file.write(b"1234")


def write_unflushed_and_rename(root: Path) -> None:
    with disk.open_unbuffered(root / "fresh", "xb") as file:
        file.write(b"12")
    disk.rename(root / "fresh", root / "old")


def write_flushed(root: Path) -> None:
    with disk.open_file(root / "fresh", "xb") as file:
        file.write(b"12")
        disk.sync(file)


def link_elsewhere(root: Path) -> None:
    disk.hard_link(root / "old", root / "there" / "new")


def rename_elsewhere(root: Path) -> None:
    disk.rename(root / "old", root / "there" / "new")


OLD, NEW = {"old": b"old"}, {"there/new": b"old"}
LEFT = [  # what is done; all that a cut may leave
    (append_unflushed, [{"old": left} for left in (b"old", b"old12", b"old1234", b"old\0\0\0\0")]),
    (write_flushed, [OLD, OLD | {"fresh": b"12"}]),  # its name wasn't flushed
    (link_elsewhere, [OLD, OLD | NEW]),
    (rename_elsewhere, [{}, OLD, NEW, OLD | NEW]),  # in both folders, in either or in none
]


@pytest.mark.parametrize(("work", "left"), LEFT)
def test_what_was_not_flushed_may_be_lost_in_each_of_these_ways_and_in_no_other(root, tmp_path, work, left):
    (root / "there").mkdir()
    found = states(root, lambda: work(root), tmp_path)
    assert {tuple(sorted(one.items())) for one in found} == {tuple(sorted(one.items())) for one in left}


def test_an_unflushed_name_may_be_lost_and_an_unflushed_file_may_be_empty_under_its_name(root, tmp_path):
    left = {state.get("old") for state in states(root, lambda: write_unflushed_and_rename(root), tmp_path)}
    assert left >= {b"old", b"12", b""}
