"""Damage is found, put aside and never resumed from; a run never starts over without a word."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from training_state import is_state_of, load, save, save_checkpoint, training_state

from headwater.core.errors import CheckpointError, ConfigError
from headwater.core.files import read_json, write_json
from headwater.core.manifests import seal
from headwater.train.checkpoint.layout import checkpoint_dir
from headwater.train.checkpoint.load import read_checkpoint, read_tensors
from headwater.train.checkpoint.verify import checked_manifest, is_whole, model_digest, read_state

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


@pytest.mark.parametrize("name", FILES)
def test_every_changed_byte_and_every_other_length_is_found(run_dir, name):
    path = checkpoint_dir(run_dir, 2)
    good = (path / name).read_bytes()
    bad = [good[:length] for length in (0, 1, 7, len(good) // 2, len(good) - 2, len(good) - 1)]
    bad += [good + b"x", good + b"}"]
    for position in range(len(good)) if name == "manifest.json" else positions(good):
        changed = bytearray(good)
        changed[position] ^= 1 << (position % 8)
        bad.append(bytes(changed))
    for number, data in enumerate(bad):
        (path / name).write_bytes(data)
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
        assert number > 20 or not is_whole(path), number
    (path / name).write_bytes(good)
    assert is_state_of(read_checkpoint(path), 2) and is_whole(path)


def swap(first: Path, second: Path) -> None:
    between = first.with_name("between")
    first.rename(between)
    second.rename(first)
    between.rename(second)


def make_folder_of(name: str, path: Path) -> None:
    (path / name).unlink()
    (path / name).mkdir()


def take_from_step_1(name: str, path: Path) -> None:
    shutil.copy(path.with_name("step-000000001") / name, path / name)


def flip_first(name: str, path: Path) -> None:
    (path / name).write_bytes(b"!" + (path / name).read_bytes()[1:])


def resealed(change: Callable[[dict[str, Any]], object], path: Path) -> None:
    """Change a manifest in place, whose seal fits."""
    manifest = read_json(path / "manifest.json")
    del manifest["seal"]
    change(manifest)
    write_json(path / "manifest.json", seal(manifest))


def entry(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["tensors"]["model.embed.weight"]


DAMAGES: dict[str, Callable[[Path], object]] = {
    **{f"{name} is missing": lambda path, name=name: (path / name).unlink() for name in FILES},
    **{f"{name} is a folder": partial(make_folder_of, name) for name in FILES},
    **{f"{name} is of another step": partial(take_from_step_1, name) for name in FILES},
    **{f"a byte of {name}": partial(flip_first, name) for name in FILES},
    "two files swapped": lambda path: swap(path / "model.safetensors", path / "optim.safetensors"),
}
# what a manifest says that can't be, though its seal is right
SAYINGS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no files": lambda said: said.update(files={}),
    "a file too few": lambda said: said["files"].pop("optim.safetensors"),
    "sums too few": lambda said: said["files"].pop("optim.sums"),
    "another step": lambda said: said.update(step=9),
    "a step that isn't one": lambda said: said.update(step=True),
    "no ranks": lambda said: said.update(world_size=0),
    "no table": lambda said: said.pop("tensors"),
    "a file elsewhere": lambda said: said["files"].update({"../x": said["files"]["model.sums"]}),
    "a file without a digest": lambda said: said["files"]["model.sums"].pop("digest"),
    "a file of no size": lambda said: said["files"]["model.sums"].update(bytes=-1),
    "another size": lambda said: said["files"]["model.safetensors"].update(bytes=1 << 20),
    "no dtype": lambda said: entry(said).pop("dtype"),
    "an unknown dtype": lambda said: entry(said).update(dtype="float3"),
    "another dtype": lambda said: entry(said).update(dtype="int32"),
    "another shape": lambda said: entry(said).update(shape=[3, 5]),
    "no chunks": lambda said: entry(said).update(chunks=[]),
    "a chunk of another file": lambda said: entry(said)["chunks"][0].update(file="optim.safetensors"),
    "a chunk of no file": lambda said: entry(said)["chunks"][0].update(file="x"),
    "a chunk beyond the tensor": lambda said: entry(said)["chunks"][0].update(offsets=[1, 0]),
    "a chunk of one dimension": lambda said: entry(said)["chunks"][0].update(offsets=[0], shape=[15]),
    "a chunk twice": lambda said: entry(said)["chunks"].append(entry(said)["chunks"][0]),
    "two halves that are one": lambda said: entry(said).update(
        chunks=[entry(said)["chunks"][0] | {"shape": [1, 3]}] * 5
    ),
    "a tensor larger than all files": lambda said: entry(said).update(
        shape=[1 << 20, 3], chunks=[entry(said)["chunks"][0] | {"shape": [1 << 20, 3]}]
    ),
}
DAMAGES |= {f"a manifest says: {said}": partial(resealed, change) for said, change in SAYINGS.items()}
# such a manifest was made by hand: its files are as it says, and only those who read the tensors notice
UNSEEN = ("sums too few", "another size", "an unknown dtype", "another dtype", "of another file", "that are one")


@pytest.mark.parametrize("damage_name", DAMAGES)
def test_the_checkpoint_before_a_damaged_one_is_taken(run_dir, damage_name):
    """What isn't whole can't be read, and what can be read is whole: a run would end that isn't finished."""
    path = checkpoint_dir(run_dir, 2)
    DAMAGES[damage_name](path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert is_whole(path) == damage_name.endswith(UNSEEN)
    assert is_state_of(load(run_dir), 1)
    assert names(run_dir) == ["damaged-step-000000002", "step-000000001"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_an_older_headwater_is_refused_and_stays(run_dir, version):
    path = checkpoint_dir(run_dir, 2)
    manifest = read_json(path / "manifest.json") | {"format_version": version}
    del manifest["seal"]
    write_json(path / "manifest.json", manifest if version == 1 else seal(manifest))
    for use in (load, lambda run_dir: save(run_dir, 2)):
        with pytest.raises(ConfigError, match=f"checkpoint of format {version}"):
            use(run_dir)
    assert not is_whole(path)
    assert path.is_dir()


def test_weights_and_state_are_checked_alone_too(run_dir):
    path = checkpoint_dir(run_dir, 2)
    assert read_state(path) == read_checkpoint(path).state
    (path / "optim.safetensors").unlink()  # not needed for the weights
    assert read_tensors(path, "model").keys() == read_checkpoint(checkpoint_dir(run_dir, 1)).model.keys()
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        read_tensors(path, "model")
    for text in (b"", b"[1]", b"3", b"\xff"):
        (path / "state.json").write_bytes(text)
        with pytest.raises(CheckpointError, match=r"state\.json is damaged"):
            read_state(path)


def test_digests_are_of_the_bits_alone(run_dir):
    model, optim, state = training_state(2)
    save_checkpoint(run_dir, 3, model, {name: 2 * tensor for name, tensor in optim.items()}, state)
    save_checkpoint(run_dir, 4, model, optim, {"other": 1})
    first, second, other, same = (checkpoint_dir(run_dir, step) for step in (1, 2, 3, 4))
    assert model_digest(second) == model_digest(other) == model_digest(same) != model_digest(first)
    digests = [checked_manifest(path)["state_digest"] for path in (first, second, other, same)]
    assert digests[1] == digests[3] and len(set(digests)) == 3


# ---- what happens then


def damage(run_dir: Path, step: int) -> None:
    path = checkpoint_dir(run_dir, step) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def test_a_run_without_checkpoints_starts_fresh(tmp_path):
    assert load(tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    assert load(tmp_path) is None


def damage_both(run_dir: Path) -> None:
    damage(run_dir, 1)
    damage(run_dir, 2)


def swap_both(run_dir: Path) -> None:
    swap(checkpoint_dir(run_dir, 1), checkpoint_dir(run_dir, 2))


@pytest.mark.parametrize("harm", [damage_both, swap_both])
def test_when_all_are_damaged_it_is_an_error_now_and_at_every_later_try(run_dir, harm):
    harm(run_dir)
    for _ in range(3):
        with pytest.raises(CheckpointError, match=r"every checkpoint of .* is damaged .*use a new run folder"):
            load(run_dir)
    assert names(run_dir) == ["damaged-step-000000001", "damaged-step-000000002"], "kept, never deleted"
