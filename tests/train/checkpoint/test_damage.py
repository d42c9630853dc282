"""Damage is found, put aside and never resumed from; a run never starts over without a word."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from training_state import is_state_of, load, reseal, save, save_checkpoint, training_state

from headwater.core.errors import CheckpointError, ConfigError
from headwater.core.files import read_json, write_json
from headwater.core.manifests import seal
from headwater.train.checkpoint.layout import checkpoint_dir
from headwater.train.checkpoint.load import read_checkpoint, read_tensors
from headwater.train.checkpoint.verify import is_whole, model_digest, read_state

FILES = ["model.safetensors", "optim.safetensors", "model.sums", "optim.sums", "state.json", "manifest.json"]


@pytest.fixture
def run_dir(tmp_path):
    """A run with checkpoints of steps 1 and 2."""
    save(tmp_path, 1)
    save(tmp_path, 2)
    return tmp_path


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def positions(data: bytes) -> list[int]:
    """Return every position of a short file, and first, last and random ones of a longer one."""
    chosen = random.Random(0).sample(range(len(data)), min(len(data), 150))
    return sorted({0, min(8, len(data) - 1), len(data) - 1, *chosen})


@pytest.mark.parametrize("name", FILES[:-1])
def test_every_changed_byte_is_found_and_the_one_before_is_taken(run_dir, name):
    path = checkpoint_dir(run_dir, 2)
    good = (path / name).read_bytes()
    for position in positions(good):
        changed = bytearray(good)
        changed[position] ^= 1 << (position % 8)
        (path / name).write_bytes(changed)
        assert is_state_of(load(run_dir), 1), f"byte {position} of {name}"
        assert names(run_dir) == ["damaged-step-000000002", "step-000000001"]
        (run_dir / "checkpoints" / "damaged-step-000000002").rename(path)
    (path / name).write_bytes(good)
    assert is_state_of(load(run_dir), 2)


def test_every_changed_byte_of_the_manifest_is_found(run_dir):
    path = checkpoint_dir(run_dir, 2)
    good = (path / "manifest.json").read_bytes()
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1 << position % 8
        (path / "manifest.json").write_bytes(changed)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_an_older_headwater_is_refused_and_stays(run_dir, version):
    path = checkpoint_dir(run_dir, 2)
    manifest = read_json(path / "manifest.json") | {"format_version": version}
    del manifest["seal"]
    write_json(path / "manifest.json", manifest if version == 1 else seal(manifest))
    with pytest.raises(ConfigError, match=f"checkpoint of format {version}, and this headwater reads 3; resume with"):
        load(run_dir)
    assert not is_whole(path)
    with pytest.raises(ConfigError, match=f"checkpoint of format {version}"):
        save(run_dir, 2)
    assert path.is_dir()


def test_every_truncation_is_found(run_dir):
    path = checkpoint_dir(run_dir, 2)
    for name in FILES:
        good = (path / name).read_bytes()
        for length in {0, 1, 7, len(good) // 2, len(good) - 2, len(good) - 1}:
            (path / name).write_bytes(good[:length])
            with pytest.raises(CheckpointError):
                read_checkpoint(path)
        (path / name).write_bytes(good + b"x" if name != "manifest.json" else good + b"}")
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
        (path / name).write_bytes(good)
    assert is_state_of(read_checkpoint(path), 2)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found_and_the_one_before_is_taken(run_dir, name):
    (checkpoint_dir(run_dir, 2) / name).unlink()
    assert is_state_of(load(run_dir), 1)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_found(run_dir, name):
    path = checkpoint_dir(run_dir, 2) / name
    path.unlink()
    path.mkdir()
    assert is_state_of(load(run_dir), 1)


def swap(first: Path, second: Path) -> None:
    between = first.with_name("between")
    first.rename(between)
    second.rename(first)
    between.rename(second)


def test_files_of_two_kinds_swapped_are_found(run_dir):
    path = checkpoint_dir(run_dir, 2)
    swap(path / "model.safetensors", path / "optim.safetensors")
    assert is_state_of(load(run_dir), 1)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_step_is_found(run_dir, name):
    shutil.copy(checkpoint_dir(run_dir, 1) / name, checkpoint_dir(run_dir, 2) / name)
    assert is_state_of(load(run_dir), 1)


def test_whole_checkpoints_swapped_are_found(run_dir):
    swap(checkpoint_dir(run_dir, 1), checkpoint_dir(run_dir, 2))
    with pytest.raises(CheckpointError, match=r"every checkpoint of .* is damaged"):
        load(run_dir)


def test_a_checkpoint_of_a_newer_format_is_not_read(run_dir):
    path = checkpoint_dir(run_dir, 2)
    reseal(path, format_version=99)
    with pytest.raises(CheckpointError, match="version 99"):
        read_checkpoint(path)


def test_a_copy_under_another_name_can_be_read(run_dir):
    copy = run_dir / "best"
    shutil.copytree(checkpoint_dir(run_dir, 2), copy)
    assert is_state_of(read_checkpoint(copy), 2)


def test_weights_alone_are_checked_too(run_dir):
    path = checkpoint_dir(run_dir, 2)
    (path / "optim.safetensors").unlink()  # not needed for the weights
    assert read_tensors(path, "model").keys() == read_checkpoint(checkpoint_dir(run_dir, 1)).model.keys()
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        read_tensors(path, "model")


DAMAGES = {
    "none": lambda path: None,
    "a file is missing": lambda path: (path / "optim.safetensors").unlink(),
    "a byte is changed": lambda path: (path / "state.json").write_bytes(b"!" + (path / "state.json").read_bytes()[1:]),
    "no manifest": lambda path: (path / "manifest.json").unlink(),
    "no digests": lambda path: reseal(path, files={}),
    "another step": lambda path: reseal(path, step=9),
    "a digest too few": lambda path: reseal(path, files={"state.json": digest_facts(path)}),
}


def digest_facts(path: Path) -> dict[str, str]:
    return read_json(path / "manifest.json")["files"]["state.json"]


@pytest.mark.parametrize("damage_name", DAMAGES)
def test_whole_is_what_can_be_read(run_dir, damage_name):
    """A quick check that says whole where a resume says damaged would end a run that isn't finished."""
    path = checkpoint_dir(run_dir, 2)
    DAMAGES[damage_name](path)
    try:
        read_checkpoint(path)
    except CheckpointError:
        assert not is_whole(path)
    else:
        assert is_whole(path)
    assert is_whole(path) == (damage_name == "none")


def test_the_state_can_be_read_alone_and_says_when_it_cannot(run_dir):
    path = checkpoint_dir(run_dir, 2)
    assert read_state(path) == read_checkpoint(path).state
    for text in (b"", b"[1]", b"3", b"\xff"):
        (path / "state.json").write_bytes(text)
        with pytest.raises(CheckpointError, match=r"state\.json is damaged"):
            read_state(path)


def test_the_digest_of_the_weights_is_that_of_their_bits_alone(run_dir):
    path = checkpoint_dir(run_dir, 2)
    model, optim, state = training_state(2)
    save_checkpoint(run_dir, 3, model, {name: 2 * tensor for name, tensor in optim.items()}, state)
    assert model_digest(path) == model_digest(checkpoint_dir(run_dir, 3)) != model_digest(checkpoint_dir(run_dir, 1))
    DAMAGES["no digests"](path)
    with pytest.raises(CheckpointError, match="damaged"):
        model_digest(path)


# ---- what happens then


def damage(run_dir: Path, step: int) -> None:
    path = checkpoint_dir(run_dir, step) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def test_damage_is_named_with_the_file_and_what_was_done(run_dir):
    damage(run_dir, 2)
    said: list[str] = []
    load(run_dir, said.append)
    assert len(said) == 1
    assert str(checkpoint_dir(run_dir, 2) / "model.safetensors") in said[0]
    assert "renamed to damaged-step-000000002" in said[0]


def test_a_run_without_checkpoints_starts_fresh(tmp_path):
    assert load(tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    assert load(tmp_path) is None


def test_when_all_are_damaged_it_is_an_error_now_and_at_every_later_try(run_dir):
    damage(run_dir, 1)
    damage(run_dir, 2)
    for _ in range(3):
        with pytest.raises(
            CheckpointError, match=r"every checkpoint of .* is damaged .*use a new run folder or remove"
        ):
            load(run_dir)
    assert names(run_dir) == ["damaged-step-000000001", "damaged-step-000000002"], "kept, never deleted"


def test_a_step_that_is_damaged_twice_is_kept_twice(run_dir):
    for _ in range(3):
        damage(run_dir, 2)
        assert is_state_of(load(run_dir), 1)
        save(run_dir, 2)
    assert is_state_of(load(run_dir), 2)
    assert names(run_dir)[:3] == ["damaged-step-000000002", "damaged-step-000000002-2", "damaged-step-000000002-3"]
