"""A disk that is full or read-only: a clear message, nothing torn, and the run resumes once there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_run import (
    call,
    final_weights,
    measured,
    require_clear_error,
    write_run_file,
    write_texts,
)


@pytest.fixture
def mount_tmpfs(tmp_path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a tmpfs of a given size; every one is unmounted, whatever happens."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        point = tmp_path / f"disk{len(mounted)}"
        point.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(point)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting needs root")
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", "-l", str(point)], check=True)


FEW = {"train__num_steps": 8, "train__save_every": 4, "train__num_probes": 0}


@pytest.fixture
def folder(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", **FEW)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of the same run with room enough."""
    folder = tmp_path_factory.mktemp("whole")
    write_texts(folder / "texts")
    write_run_file(folder / "mine.toml", **FEW)
    assert call("run", "mine.toml", cwd=folder).status == 0
    return folder / "runs/mine"


def remount(point: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(point)], check=True)


def test_a_read_only_output_folder_is_refused_before_any_work(folder, mount_tmpfs):
    disk = mount_tmpfs("1m")
    remount(disk, "ro")
    said = call("run", "mine.toml", f"runs_dir={disk}", cwd=folder)
    require_clear_error(said, f"can't write {disk}", "read-only", "choose another output folder", status=(1,))


@pytest.mark.parametrize("size_kb", [96, 800])
def test_a_full_disk_is_named_and_once_there_is_room_the_run_ends_with_the_same_bits(
    folder, whole, mount_tmpfs, size_kb
):
    """Each size fills up at another place; benchmarks/reliability/refusals.py refuses every write of a run."""
    disk, arguments = mount_tmpfs(f"{size_kb}k"), ("run", "mine.toml")
    said = call(*arguments, f"runs_dir={disk}", cwd=folder)
    require_clear_error(said, "can't write" if "can't write" in said.err else "MB free", "free some space", status=(1,))
    remount(disk, "size=50m")
    said = call(*arguments, f"runs_dir={disk}", cwd=folder)
    assert said.status == 0, said
    assert [path.name for path in disk.rglob(".*")] == [".corpus-work"]
    assert measured(disk / "mine") == measured(whole)
    assert final_weights(disk / "mine") == final_weights(whole)


def test_a_finished_run_on_a_read_only_disk_can_still_be_used(folder, mount_tmpfs):
    disk = mount_tmpfs("50m")
    assert call("run", "mine.toml", f"runs_dir={disk}", cwd=folder).status == 0
    remount(disk, "ro")
    for verb in (["next", "The"], ["generate", "The"], ["surprise", "The"], ["evaluate"], ["corpus", "show"]):
        said = call(*verb, "--run", str(disk / "mine"), cwd=folder)
        assert said.status == 0, said
    said = call("run", "mine.toml", f"runs_dir={disk}", cwd=folder)
    require_clear_error(said, "read-only", status=(1,))
