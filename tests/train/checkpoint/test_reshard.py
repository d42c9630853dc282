"""A state saved by some ranks is loaded bit by bit by any other number of them, whole tensors and boxes of tensors.

The ranks are all in this process, each with a saver of its own; those of processes are in tests/story.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_state import save

from headwater.core.errors import CheckpointError, StorageError
from headwater.machine.parallel.boxes import box_of, shape_along_tensor
from headwater.machine.ranks.exchange import Ranks, local
from headwater.machine.ranks.mesh import Mesh, Place
from headwater.train.checkpoint import save as saving
from headwater.train.checkpoint.layout import checkpoint_dir
from headwater.train.checkpoint.load import load_state_, read_checkpoint
from headwater.train.checkpoint.save import Saved, Saver
from headwater.train.checkpoint.verify import require_whole

Tensors = Mapping[str, torch.Tensor]
STEP = 4


class Here(Ranks):
    """One of several ranks in this process; what the first one hands over lies in `shared`."""

    def __init__(self, rank: int, mesh: Mesh, shared: list[object]) -> None:
        super().__init__(Place(rank, mesh.world_size), mesh)
        self._shared = shared

    def from_first(self, value):
        if self.is_first:
            self._shared.append(value)
        return self._shared[-1]


class Held:
    """What a rank has of a tensor, as FSDP's tensors say it: a box of the part along `tensor`, whose shape it has."""

    def __init__(self, name: str, whole: torch.Tensor, ranks: Ranks) -> None:
        self.shape = torch.Size(shape_along_tensor(name, whole.shape, ranks.mesh))
        self._own = whole[box_of(name, whole.shape, ranks.mesh, ranks.rank).slices].clone()

    def to_local(self) -> torch.Tensor:
        return self._own

    def numel(self) -> int:
        return self.shape.numel()

    def element_size(self) -> int:
        return self._own.element_size()


def held(tensors: Tensors, ranks: Ranks) -> dict[str, Held]:
    """Return what a rank has of some tensors, of which those of one block are on one stage of a pipeline."""
    stage, stages = ranks.mesh.index(ranks.rank, "pipeline"), ranks.mesh.pipeline
    return {
        name: Held(name, tensor, ranks) for at, (name, tensor) in enumerate(tensors.items()) if at % stages == stage
    }


def owned(tensors: Tensors, ranks: Ranks) -> dict[str, Held]:
    """Return the same of what one copy of the weights alone has: optimizer state."""
    copy, copies = ranks.mesh.index(ranks.rank, "replicate"), ranks.mesh.replicate
    return {name: one for at, (name, one) in enumerate(held(tensors, ranks).items()) if at % copies == copy}


def savers(folder: Path, mesh: Mesh) -> list[tuple[Here, Saver]]:
    shared: list[object] = []
    ranks = [Here(rank, mesh, shared) for rank in range(mesh.world_size)]
    return [(each, Saver(folder, each)) for each in ranks]


def save_by(folder: Path, mesh: Mesh, model: Tensors, optim: Tensors) -> list[Saved | StorageError | None]:
    """Save by all ranks of a mesh; return what each of them has of it."""
    all_savers, found = savers(folder, mesh), []
    for ranks, saver in all_savers:
        saver.begin(STEP, held(model, ranks), owned(optim, ranks), {"note": "x"})
    for _, saver in all_savers:
        try:
            found.append(saver.finish())
        except StorageError as error:
            found.append(error)
        saver.close()
    return found


MESHES = st.builds(
    Mesh,
    pipeline=st.integers(1, 2),
    replicate=st.integers(1, 3),
    shard=st.integers(1, 3),
    context=st.integers(1, 2),
    tensor=st.integers(1, 2),
).filter(lambda mesh: mesh.world_size <= 8)
SIZES = st.tuples(*[st.integers(1, 5)] * 6)


def state_of(sizes: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensors, Tensors]:
    a, b, c, d, e, f = sizes
    shapes = {"embed.weight": (2 * a, b), "out.weight": (c, 2 * d), "gate.weight": (2 * e, 2 * a), "norm.weight": (f,)}
    generator = torch.Generator().manual_seed(a)
    model = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return model, {f"{name}.mean": 2 * tensor.float() for name, tensor in model.items()}


@settings(max_examples=25)
@given(MESHES, MESHES, SIZES, st.sampled_from([torch.float32, torch.bfloat16]))
def test_what_some_ranks_save_others_load(tmp_path_factory, saved_by, loaded_by, sizes, dtype):
    (model, optim), folder = state_of(sizes, dtype), tmp_path_factory.mktemp("reshard")
    first, *others = save_by(folder / "one", saved_by, model, optim)
    assert first.bytes == sum(file.stat().st_size for file in checkpoint_dir(folder / "one", STEP).iterdir())
    assert others == [None] * (saved_by.world_size - 1)
    path = checkpoint_dir(folder / "one", STEP)
    manifest, read = require_whole(path), read_checkpoint(path)
    assert (manifest["world_size"], len(manifest["files"])) == (saved_by.world_size, 4 * saved_by.world_size + 1)
    assert (read.step, read.state) == (STEP, {"note": "x"})
    for found, expected in ((read.model, model), (read.optim, optim)):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    for rank in range(loaded_by.world_size):
        ranks = Here(rank, loaded_by, [])
        expected, targets = ([held(model, ranks), owned(optim, ranks)] for _ in range(2))
        for target in (*targets[0].values(), *targets[1].values()):
            local(target).zero_()
        load_state_(path, *targets, ranks)
        assert all(torch.equal(local(a[name]), local(b[name])) for a, b in zip(targets, expected) for name in b)
    save_by(folder / "other", loaded_by, model, optim)
    again = require_whole(checkpoint_dir(folder / "other", STEP))
    assert again["state_digest"] == manifest["state_digest"]


def test_ranks_that_have_the_same_write_a_part_each_and_nothing_twice(tmp_path):
    model = {f"{number}.out.weight": torch.ones(16, 16) for number in range(8)}
    save_by(tmp_path, Mesh(replicate=4), model, {})
    sizes = [file.stat().st_size for file in checkpoint_dir(tmp_path, STEP).glob("model*.safetensors")]
    assert all(2 * 1024 <= size < 2 * 1024 + 500 for size in sizes) and len(sizes) == 4, "two tensors and a header"


# ---- ranks that don't come to their end


WEIGHTS = {"out.weight": torch.ones(2, 2), "gate.weight": torch.ones(2, 2)}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(saving, "MAX_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(saving, "LOOK_SECONDS", 0.01)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_save_ends_when_another_rank_was_killed_without_a_word(tmp_path, impatient, rank):
    all_savers = savers(tmp_path, Mesh(replicate=2))
    all_savers[0][0].from_first([str(tmp_path / "checkpoints" / "never-made"), False])
    all_savers[rank][1].begin(STEP, WEIGHTS, {}, {})
    with pytest.raises(StorageError, match=r"another rank has ended, or hangs|the first rank gave it up"):
        all_savers[rank][1].finish()
    assert not [*(tmp_path / "checkpoints").glob("*")]


def test_a_rank_that_still_writes_is_waited_for(tmp_path, impatient):
    (_, first), (_, second) = savers(tmp_path, Mesh(replicate=2))
    first.begin(STEP, WEIGHTS, {}, {})
    began_at = time.monotonic()
    while time.monotonic() < began_at + 0.8:  # more than it waits for nothing
        for folder in (tmp_path / "checkpoints").glob(".*"):
            with (folder / "growing").open("ab") as file:
                file.write(b"x")
        assert first.poll() is None
        time.sleep(0.02)
    (folder / "growing").unlink()
    second.begin(STEP, WEIGHTS, {}, {})
    assert first.finish() is not None
    assert second.finish() is None


FULL, GONE = OSError(errno.ENOSPC, "No space left on device"), FileNotFoundError(errno.ENOENT, "No such file")


@pytest.mark.parametrize(
    ("refused", "error", "last", "said"),
    [
        (0, FULL, 0, ["No space left", "None"]),
        (0, FULL, 1, ["No space left", "the first rank gave it up"]),
        (1, FULL, 0, ["No space left", "No space left"]),
        (1, GONE, 0, ["No such file", "the first rank gave it up"]),  # as when the first one takes the folder away
    ],
)
def test_nothing_is_committed_where_one_rank_cannot_write(tmp_path, monkeypatch, impatient, refused, error, last, said):
    write_tensors, optim = saving.write_tensors, {"norm.weight": torch.ones(3), "norm.bias": torch.ones(3)}
    folder = tmp_path / "checkpoints"

    def refuse(file, tensors) -> None:
        if [*optim][last] in tensors:  # the last rank's alone; it waits for the other one's note, or end
            while not [*folder.rglob("note-*")] if last == 0 else [*folder.iterdir()]:
                time.sleep(0.001)
        if [*optim][refused] in tensors:
            raise error
        write_tensors(file, tensors)

    monkeypatch.setattr(saving, "write_tensors", refuse)
    found = save_by(tmp_path, Mesh(replicate=2), {}, optim)
    for each, words in zip(found, said):
        assert words in str(each) and isinstance(each, StorageError | None), found
    assert not [*folder.iterdir()]


# ---- one rank


@pytest.mark.parametrize("target", [{"norm.weight": torch.zeros(4)}, {"other": torch.zeros(3)}])
def test_a_tensor_that_is_not_there_or_has_another_shape_is_refused(tmp_path, target):
    save(tmp_path, 3)
    with pytest.raises(CheckpointError, match="doesn't fit this run"):
        load_state_(checkpoint_dir(tmp_path, 3), target, {})
