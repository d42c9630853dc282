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


def test_an_unflushed_write_is_left_whole_halved_as_zeros_or_not_at_all(root, tmp_path):
    def work():
        with disk.open_unbuffered(root / "old", "ab") as file:
            file.write(b"1234")

    left = {state["old"] for state in states(root, work, tmp_path)}
    assert left == {b"old", b"old12", b"old1234", b"old\0\0\0\0"}


def test_an_unflushed_name_may_be_lost_and_an_unflushed_file_may_be_empty_under_its_name(root, tmp_path):
    def work():
        with disk.open_unbuffered(root / "fresh", "xb") as file:
            file.write(b"12")
        disk.rename(root / "fresh", root / "old")

    left = {state.get("old", b"none") for state in states(root, work, tmp_path)}
    assert left >= {b"old", b"12", b""}


def test_a_flushed_file_whose_name_was_not_may_be_lost(root, tmp_path):
    def work():
        with disk.open_file(root / "fresh", "xb") as file:
            file.write(b"12")
            disk.sync(file)

    left = {state.get("fresh", b"none") for state in states(root, work, tmp_path)}
    assert left == {b"12", b"none"}


def test_a_second_name_of_a_file_may_be_lost_and_the_first_stays(root, tmp_path):
    (root / "there").mkdir()

    def work():
        disk.hard_link(root / "old", root / "there" / "new")

    found = [tuple(sorted(state.items())) for state in states(root, work, tmp_path, 60)]
    assert set(found) == {(("old", b"old"),), (("old", b"old"), ("there/new", b"old"))}


def test_a_file_renamed_into_another_folder_may_be_in_both_in_either_or_in_none(root, tmp_path):
    (root / "there").mkdir()

    def work():
        disk.rename(root / "old", root / "there" / "new")

    found = {tuple(sorted(state)) for state in states(root, work, tmp_path, 60)}
    assert found == {(), ("old",), ("there/new",), ("old", "there/new")}
