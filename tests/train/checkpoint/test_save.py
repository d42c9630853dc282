"""A checkpoint is complete under its name or not there, whenever the process dies."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fault_plan import CRASHED, FaultPlan, faults
from training_state import is_state_of, load, save, save_checkpoint, training_state

from headwater.core import disk, files
from headwater.core.errors import StorageError
from headwater.train.checkpoint.layout import checkpoint_dir, list_checkpoints, list_damaged
from headwater.train.checkpoint.load import put_aside
from headwater.train.checkpoint.save import retain_newest


def test_a_state_comes_back_bit_by_bit(tmp_path):
    model = {
        "fp32": torch.nn.Parameter(torch.randn(7, 3)),
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
        assert (loaded.dtype, loaded.shape, loaded.requires_grad) == (tensor.dtype, tensor.shape, False)
        bits = [each.detach().contiguous().flatten().view(torch.uint8) for each in (loaded, tensor)]
        assert torch.equal(*bits), name


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
    retain_newest(tmp_path, 2, pinned={9, 2})
    assert [step for step, _ in list_checkpoints(tmp_path)] == [100, 10, 9, 2]
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


# ---- retention


def damage(run_dir: Path, step: int) -> None:
    path = checkpoint_dir(run_dir, step) / "optim.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def steps(run_dir: Path) -> list[int]:
    return [step for step, _ in list_checkpoints(run_dir)]


def test_a_damaged_checkpoint_takes_no_whole_ones_place(tmp_path):
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    damage(tmp_path, 4)
    damage(tmp_path, 2)
    retain_newest(tmp_path, 2)
    assert steps(tmp_path) == [4, 3, 2, 1], "3 and 1 are the two that are whole"
    save(tmp_path, 5)
    retain_newest(tmp_path, 2)
    assert steps(tmp_path) == [5, 4, 3]
    assert is_state_of(load(tmp_path), 5)


def test_damaged_checkpoints_do_not_pile_up(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step)
        put_aside(checkpoint_dir(tmp_path, step))
    for step in (6, 7):
        save(tmp_path, step)
    retain_newest(tmp_path, 2)
    assert len(list_damaged(tmp_path)) == 5, "as long as no older checkpoint is removed, none of these is"
    save(tmp_path, 8)
    retain_newest(tmp_path, 2)
    assert [path.name for path in list_damaged(tmp_path)] == ["damaged-step-000000004", "damaged-step-000000005"]
    assert [step for step, _ in list_checkpoints(tmp_path)] == [8, 7]


def test_nothing_is_removed_while_fewer_than_two_are_whole(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
        if step > 1:
            damage(tmp_path, step)
    retain_newest(tmp_path, 2)
    assert steps(tmp_path) == [3, 2, 1]


def test_a_bit_that_the_disk_changed_while_saving_is_found_before_an_older_one_is_removed(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    save(tmp_path / "count", 2)
    with faults("") as counted:
        save(tmp_path / "count", 3)
    for number in [number for number, kind in enumerate(counted.operations, 1) if kind == "write"][1:]:
        with faults(f"flip@{number}"):
            save(tmp_path, 3)
        retain_newest(tmp_path, 2)
        assert steps(tmp_path) == [3, 2, 1], f"operation {number}"
        assert is_state_of(load(tmp_path), 2), f"operation {number}"


# ---- a fault at every operation of a save; benchmarks/reliability has all targets


def operations(run_dir: Path, work: Callable[[], None]) -> list[str]:
    with faults("") as counted:
        work()
    assert len(counted.operations) > 10
    return counted.operations


def die(plan: str, work: Callable[[], None]) -> None:
    """Do the work in a child that ends at a point of its plan."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads; the child only writes files
        child = os.fork()
    if child == 0:
        try:
            disk.install(FaultPlan.parse(plan))
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == CRASHED, f"{plan} was not reached"


def crash_plans(kinds: list[str]) -> list[str]:
    points = enumerate(kinds, 1)
    return [plan for at, kind in points for plan in ([f"crash@{at}"] + [f"torn@{at}"] * (kind == "write"))]


def test_killed_at_any_point_of_a_save_the_previous_or_the_new_one_is_whole(tmp_path):
    save(tmp_path / "count", 1)
    outcomes = []
    for plan in crash_plans(operations(tmp_path, lambda: save(tmp_path / "count", 2))):
        run_dir = tmp_path / plan
        save(run_dir, 1)
        die(plan, lambda run_dir=run_dir: save(run_dir, 2))
        checkpoint = load(run_dir)
        assert checkpoint is not None, f"nothing left after {plan}"
        assert is_state_of(checkpoint, checkpoint.step), f"half a state after {plan}"
        outcomes.append(checkpoint.step)
        assert not list((run_dir / "checkpoints").glob("damaged-*")), f"{plan} left a damaged checkpoint"
        files.remove_leftovers(run_dir / "checkpoints")
        save(run_dir, 2)
        assert is_state_of(load(run_dir), 2), f"no save after {plan}"
        assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {"step-000000001", "step-000000002"}
    assert outcomes == sorted(outcomes), "once committed, a checkpoint stays"
    assert set(outcomes) == {1, 2}


def test_killed_at_any_point_of_retention_the_newest_stays_and_nothing_is_half_removed(tmp_path):
    def prepared(name: str) -> Path:
        for step in (1, 2, 3, 4):
            save(tmp_path / name, step)
        return tmp_path / name

    counting = prepared("count")
    for plan in crash_plans(operations(counting, lambda: retain_newest(counting, 2))):
        run_dir = prepared(plan)
        die(plan, lambda run_dir=run_dir: retain_newest(run_dir, 2))
        left = list_checkpoints(run_dir)
        assert [step for step, _ in left][:2] == [4, 3]
        assert is_state_of(load(run_dir), 4)
        for step, path in left:
            assert len(list(path.iterdir())) == 6, f"{plan} left half of step {step}"


@pytest.mark.parametrize("lasting", ["", "+"])
def test_a_refusal_at_any_operation_is_a_storage_error_and_changes_nothing(tmp_path, lasting):
    save(tmp_path / "count", 1)
    kinds = operations(tmp_path, lambda: save(tmp_path / "count", 2))
    run_dir = tmp_path / "run"
    save(run_dir, 1)
    for number in range(1, len(kinds) + 1):
        # any error but StorageError fails the test; cleaning up may fail unseen
        with contextlib.suppress(StorageError), faults(f"errno=ENOSPC@{number}{lasting}"):
            save(run_dir, 2)
        checkpoint = load(run_dir)
        assert is_state_of(checkpoint, checkpoint.step), f"operation {number}"
        names = {path.name for path in (run_dir / "checkpoints").iterdir()}
        if checkpoint.step == 1 and not lasting:
            assert names == {"step-000000001"}, f"operation {number} left {names}"
        files.remove_folder(checkpoint_dir(run_dir, 2))
        files.remove_leftovers(run_dir / "checkpoints")
        assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {"step-000000001"}


def test_the_message_of_a_full_disk_names_the_checkpoint_the_space_and_the_need(tmp_path):
    with faults("errno=ENOSPC@14+"), pytest.raises(StorageError) as caught:
        save(tmp_path, 7)
    assert re.search(
        r"can't write .*/checkpoints/step-000000007: No space left .*MB free, .*MB needed", str(caught.value)
    )


def test_a_step_whose_checkpoint_is_damaged_is_saved_again_beside_it(tmp_path):
    save(tmp_path, 1)
    (checkpoint_dir(tmp_path, 1) / "optim.safetensors").unlink()
    save(tmp_path, 1)
    assert is_state_of(load(tmp_path), 1)
    assert (tmp_path / "checkpoints" / "damaged-step-000000001").is_dir()
