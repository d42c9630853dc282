"""A checkpoint is complete under its name or not there, whenever the process dies."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_state import is_state_of, load, save, training_state

from headwater import files
from headwater.checkpoint.layout import checkpoint_dir, list_checkpoints
from headwater.checkpoint.save import retain_newest, save_checkpoint
from headwater.errors import StorageError


def test_a_state_comes_back_bit_by_bit(tmp_path):
    model = {
        "fp32": torch.randn(7, 3),
        "bf16": torch.randn(4).bfloat16(),
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        "transposed": torch.randn(3, 5).T,
        "empty": torch.zeros(0, 3),
        "counts": torch.tensor([2**62, -1]),
    }
    state = {"seconds": 0.1 + 0.2, "identity": {"model": {"family": "qwen3"}}, "note": "naïve"}
    save_checkpoint(tmp_path, 3, model, {}, state)
    checkpoint = load(tmp_path)
    assert (checkpoint.step, checkpoint.state, checkpoint.optim) == (3, state, {})
    assert checkpoint.model.keys() == model.keys()
    for name, tensor in model.items():
        loaded = checkpoint.model[name]
        assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape)
        assert loaded.contiguous().flatten().view(torch.uint8).equal(tensor.contiguous().flatten().view(torch.uint8))


def test_parameters_that_need_gradients_are_saved_as_they_are(tmp_path):
    weight = torch.nn.Parameter(torch.randn(4, 4))
    save_checkpoint(tmp_path, 1, {"a": weight}, {}, {})
    loaded = load(tmp_path).model["a"]
    assert torch.equal(loaded, weight)
    assert not loaded.requires_grad


def test_the_same_state_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / name, 1)
    first, second = (checkpoint_dir(tmp_path / name, 1) for name in ("a", "b"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_a_saved_step_is_left_alone(tmp_path):
    size = save(tmp_path, 1)
    assert size == sum(path.stat().st_size for path in checkpoint_dir(tmp_path, 1).iterdir())
    model, optim, state = training_state(2)
    assert save_checkpoint(tmp_path, 1, model, optim, state) == size
    assert is_state_of(load(tmp_path), 1)


def test_the_two_newest_by_step_are_kept(tmp_path):
    for step in (9, 10, 100, 2):
        save(tmp_path, step)
    os.utime(checkpoint_dir(tmp_path, 2))
    retain_newest(tmp_path, 2)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [100, 10]
    retain_newest(tmp_path, 0)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [100, 10], "two stay, whatever is asked"
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000000010", "step-000000100"]


def test_damaged_and_foreign_folders_are_not_counted_and_not_removed(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    for name in ("damaged-step-000000009", "step-9", "step-000000009.old", "best"):
        (tmp_path / "checkpoints" / name).mkdir()
    retain_newest(tmp_path, 2)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [3, 2]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2 + 4


def test_a_full_disk_is_found_out_before_anything_is_written(tmp_path, monkeypatch):
    save(tmp_path, 1)
    usage = lambda folder: type("Usage", (), {"free": 10})()  # noqa: E731
    monkeypatch.setattr(files.shutil, "disk_usage", usage)
    with pytest.raises(StorageError, match="free some space"):
        save(tmp_path, 2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000001"]


# ---- death at every point of a save


class Points:
    """Count the calls to the operating system, and half-written writes, of a save; act at the one that is chosen."""

    NAMES = ("fsync", "replace", "rename", "mkdir", "open", "unlink", "rmdir", "close")

    def __init__(self, chosen: int, act: Callable[[], None]) -> None:
        self.count, self._chosen, self._act = 0, chosen, act

    def reach(self) -> None:
        self.count += 1
        if self.count == self._chosen:
            self._act()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in self.NAMES:
            patch.setattr(os, name, self._before(getattr(os, name)))
        patch.setattr(files, "open", self._opened, raising=False)

    def _before(self, call):
        def counted(*args, **kw):
            self.reach()
            return call(*args, **kw)

        return counted

    def _opened(self, path, mode="r", **kw):
        self.reach()
        file = open(path, mode, **kw)  # noqa: SIM115
        write = getattr(file, "write", None)
        if write is None or "b" not in mode or "w" not in mode:
            return file
        return HalfWriting(file, self)


class HalfWriting:
    """A file each of whose writes passes a point when half of it is on disk."""

    def __init__(self, file, points: Points) -> None:
        self._file, self._points = file, points

    def write(self, data: bytes) -> int:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._points.reach()
        return self._file.write(data[len(data) // 2 :])

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()


def number_of_points(run_dir: Path, work: Callable[[], None]) -> int:
    points = Points(0, lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        points.install(patch)
        work()
    assert points.count > 10
    return points.count


def die_at(point: int, work: Callable[[], None]) -> None:
    """Do the work in a child that is killed with SIGKILL at a point."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads; the child only writes files
        child = os.fork()
    if child == 0:
        try:
            Points(point, lambda: os.kill(os.getpid(), signal.SIGKILL)).install(pytest.MonkeyPatch())
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"point {point} was not reached"
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_killed_at_any_point_of_a_save_the_previous_or_the_new_one_is_whole(tmp_path):
    save(tmp_path / "count", 1)
    num_points = number_of_points(tmp_path, lambda: save(tmp_path / "count", 2))
    outcomes = []
    for point in range(1, num_points + 1):
        run_dir = tmp_path / f"run-{point}"
        save(run_dir, 1)
        die_at(point, lambda run_dir=run_dir: save(run_dir, 2))
        checkpoint = load(run_dir)
        assert checkpoint is not None, f"nothing left after death at point {point}"
        assert is_state_of(checkpoint, checkpoint.step), f"half a state after death at point {point}"
        outcomes.append(checkpoint.step)
        assert not list((run_dir / "checkpoints").glob("damaged-*")), f"point {point} left a damaged checkpoint"
        files.remove_leftovers(run_dir / "checkpoints")
        save(run_dir, 2)
        assert is_state_of(load(run_dir), 2), f"no save after death at point {point}"
    assert outcomes == sorted(outcomes), "once committed, a checkpoint stays"
    assert set(outcomes) == {1, 2}


def test_killed_at_any_point_of_retention_the_newest_stays_and_nothing_is_half_removed(tmp_path):
    def prepared(name: str) -> Path:
        for step in (1, 2, 3, 4):
            save(tmp_path / name, step)
        return tmp_path / name

    counting = prepared("count")
    num_points = number_of_points(tmp_path, lambda: retain_newest(counting, 2))
    for point in range(1, num_points + 1):
        run_dir = prepared(f"run-{point}")
        die_at(point, lambda run_dir=run_dir: retain_newest(run_dir, 2))
        left = list_checkpoints(run_dir)
        assert [step for step, _ in left][:2] == [4, 3]
        assert is_state_of(load(run_dir), 4)
        for step, path in left:
            assert len(list(path.iterdir())) == 4, f"point {point} left half of step {step}"


def test_a_write_that_fails_at_any_point_is_a_storage_error_and_changes_nothing(tmp_path):
    save(tmp_path / "count", 1)
    num_points = number_of_points(tmp_path, lambda: save(tmp_path / "count", 2))
    run_dir = tmp_path / "run"
    save(run_dir, 1)

    def refuse() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for point in range(1, num_points + 1):
        with pytest.MonkeyPatch.context() as patch:
            Points(point, refuse).install(patch)
            with contextlib.suppress(StorageError):  # any other error fails the test; cleaning up may fail unseen
                save(run_dir, 2)
        checkpoint = load(run_dir)
        assert is_state_of(checkpoint, checkpoint.step), f"point {point}"
        names = {path.name for path in (run_dir / "checkpoints").iterdir()}
        if checkpoint.step == 1:
            assert names - {".write-test"} == {"step-000000001"}, f"point {point} left {names}"
        files.remove_folder(checkpoint_dir(run_dir, 2))
        files.remove_leftovers(run_dir / "checkpoints")
