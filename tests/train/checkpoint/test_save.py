"""A checkpoint is complete under its name or not there, whenever the process dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_plan import die, faults
from training_state import is_state_of, load, save

from headwater.core import files
from headwater.core.errors import StorageError
from headwater.train.checkpoint.layout import checkpoint_dir, list_checkpoints, list_damaged
from headwater.train.checkpoint.load import put_aside
from headwater.train.checkpoint.save import retain_newest


def test_a_full_disk_is_found_out_before_anything_is_written(tmp_path, monkeypatch):
    save(tmp_path, 1)
    usage = lambda folder: type("Usage", (), {"free": 10})()  # noqa: E731
    monkeypatch.setattr(files.shutil, "disk_usage", usage)
    with pytest.raises(StorageError, match="free some space"):
        save(tmp_path, 2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000001"]


# ---- retention


def steps(run_dir: Path) -> list[int]:
    return [step for step, _ in list_checkpoints(run_dir)]


KEPT = [  # steps in the order in which they are saved, those then damaged, how many are kept, those pinned; what is left
    ([9, 10, 100, 2], [], 2, {9, 2}, [100, 10, 9, 2]),
    ([9, 10, 100, 2], [], 2, set(), [100, 10]),  # by step, not by time
    ([9, 10, 100, 2], [], 0, set(), [100, 10]),  # two stay, whatever is asked
    ([1, 2, 3, 4], [4, 2], 2, set(), [4, 3, 2, 1]),  # 3 and 1 are the two that are whole
    ([1, 2, 3, 4, 5], [4, 2], 2, set(), [5, 4, 3]),
    ([1, 2, 3], [3, 2], 2, set(), [3, 2, 1]),  # fewer than two are whole
]
FOREIGN = {"damaged-step-000000009", "step-9", "step-000000009.old", "best"}


@pytest.mark.parametrize(("saved", "damaged", "num_kept", "pinned", "left"), KEPT)
def test_the_newest_that_are_whole_are_kept_and_foreign_folders_are_not_touched(
    tmp_path, saved, damaged, num_kept, pinned, left
):
    for step in saved:
        save(tmp_path, step)
    for step in damaged:
        path = checkpoint_dir(tmp_path, step) / "optim.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    for name in FOREIGN:
        (tmp_path / "checkpoints" / name).mkdir()
    retain_newest(tmp_path, num_kept, pinned=pinned)
    assert steps(tmp_path) == left
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == FOREIGN | {f"step-{one:09d}" for one in left}


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
    run_dir, said = tmp_path / "run", list[str]()
    save(run_dir, 1)
    for number in range(1, len(kinds) + 1):
        try:
            with faults(f"errno=ENOSPC@{number}{lasting}"):
                save(run_dir, 2)  # any error but StorageError fails the test; cleaning up may fail unseen
        except StorageError as error:
            said.append(str(error))
        checkpoint = load(run_dir)
        assert is_state_of(checkpoint, checkpoint.step), f"operation {number}"
        names = {path.name for path in (run_dir / "checkpoints").iterdir()}
        if checkpoint.step == 1 and not lasting:
            assert names == {"step-000000001"}, f"operation {number} left {names}"
        files.remove_folder(checkpoint_dir(run_dir, 2))
        files.remove_leftovers(run_dir / "checkpoints")
        assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {"step-000000001"}
    named = [one for one in said if "step-000000002" in one and "MB free" in one and "MB needed" in one]
    assert named, "the checkpoint, the space and the need"


def test_a_step_whose_checkpoint_is_damaged_is_saved_again_beside_it(tmp_path):
    save(tmp_path, 1)
    (checkpoint_dir(tmp_path, 1) / "optim.safetensors").unlink()
    save(tmp_path, 1)
    assert is_state_of(load(tmp_path), 1)
    assert (tmp_path / "checkpoints" / "damaged-step-000000001").is_dir()
