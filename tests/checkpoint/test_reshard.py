"""A state saved by some ranks is loaded bit by bit by any other number of them, whole tensors and boxes of tensors."""

from __future__ import annotations

import pytest
import torch
from many_ranks import on_ranks
from training_state import save, training_state

from headwater.checkpoint.layout import checkpoint_dir
from headwater.checkpoint.load import load_state_, read_checkpoint, saved_shapes
from headwater.checkpoint.verify import checked_manifest, require_whole
from headwater.errors import CheckpointError

STATE = """
from pathlib import Path
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from headwater.checkpoint.load import load_state_
from headwater.checkpoint.save import Saver
from headwater.ranks.mesh import Mesh

def whole(name, *shape):
    generator = torch.Generator().manual_seed(len(name))
    return torch.randn(shape, generator=generator)

SHAPES = {"rows": (7, 5), "columns": (3, 10), "all": (4, 4), "vector": (6,)}
placements = {"rows": Shard(0), "columns": Shard(1), "all": Replicate(), "vector": Shard(0)}

def placed(name, tensor):
    if ranks.world_size == 1:
        return tensor
    mesh = init_device_mesh("cpu", (ranks.world_size,), mesh_dim_names=("shard",))
    return distribute_tensor(tensor, mesh, [placements[name]])

def local(tensor):
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor

def owned(tensors):
    return {name: tensor for number, (name, tensor) in enumerate(tensors.items()) if number % ranks.world_size == ranks.rank}

ranks.mesh = Mesh(shard=ranks.world_size)
folder = Path(f"by-{ranks.world_size}")
wholes = {name: whole(name, *shape) for name, shape in SHAPES.items()}
moments = {f"{name}.mean": 2 * tensor for name, tensor in wholes.items()}
results = {}
"""

SAVE = """
saver = Saver(folder, ranks)
saver.begin(4, {name: placed(name, tensor) for name, tensor in wholes.items()}, owned(moments), {"note": "x"})
saved = saver.finish()
ranks.wait()
saver.close()
results["saved"] = saved is not None
"""

LOAD = """
targets = {name: placed(name, torch.zeros_like(tensor)) for name, tensor in wholes.items()}
mine = {name: torch.zeros_like(tensor) for name, tensor in owned(moments).items()}
load_state_(Path(f"by-{saved_by}") / "checkpoints" / "step-000000004", targets, mine)
same = [torch.equal(local(targets[name]), local(placed(name, tensor))) for name, tensor in wholes.items()]
same += [torch.equal(tensor, moments[name]) for name, tensor in mine.items()]
results["same"] = same
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_some_ranks_save_others_load(tmp_path):
    """One rank saves, three load that and save, two load that and save, and this process reads each."""
    for saved_by, world_size in ((None, 1), (1, 3), (3, 2)):
        load = "" if saved_by is None else f"saved_by = {saved_by}\n{LOAD}"
        found = on_ranks(world_size, f"{STATE}{load}{SAVE}print(json.dumps(results))\n", tmp_path)
        assert all(all(rank.get("same", [])) for rank in found), (saved_by, world_size, found)
        assert [rank["saved"] for rank in found] == [True] + [False] * (world_size - 1)
        require_saved_state(checkpoint_dir(tmp_path / f"by-{world_size}", 4), world_size)


def require_saved_state(path, saved_by):
    assert require_whole(path)["world_size"] == saved_by
    assert not list(path.glob("note-*"))
    checkpoint = read_checkpoint(path)
    generator = torch.Generator().manual_seed(len("rows"))
    assert torch.equal(checkpoint.model["rows"], torch.randn(7, 5, generator=generator))
    assert checkpoint.optim.keys() == {"rows.mean", "columns.mean", "all.mean", "vector.mean"}
    assert checkpoint.state == {"note": "x"}


REFUSED = """
import errno
from headwater.errors import StorageError
import headwater.checkpoint.save as save

def refuse(file, tensors):
    raise OSError(errno.ENOSPC, "No space left on device")

if ranks.rank == 1:
    save.write_tensors = refuse
saver = Saver(folder, ranks)
saver.begin(4, {"all": wholes["all"]}, owned(moments), {})
try:
    saver.finish()
    said = "saved"
except StorageError as error:
    said = str(error)
saver.close()
print(json.dumps(said))
"""


@pytest.mark.slow
def test_nothing_is_committed_where_one_rank_cannot_write(tmp_path):
    found = on_ranks(2, STATE + REFUSED, tmp_path)
    assert all("No space left on device" in said for said in found), found
    assert not list((tmp_path / "by-2" / "checkpoints").iterdir())


def test_a_part_of_a_state_can_be_loaded_alone(tmp_path):
    save(tmp_path, 3)
    model, optim, _ = training_state(3)
    target = {"norm.weight": torch.zeros(3)}
    load_state_(checkpoint_dir(tmp_path, 3), {}, {"norm.weight.mean": target["norm.weight"]})
    assert torch.equal(target["norm.weight"], optim["norm.weight.mean"])
    assert saved_shapes(checkpoint_dir(tmp_path, 3), "model") == {name: tuple(t.shape) for name, t in model.items()}


@pytest.mark.parametrize("target", [{"norm.weight": torch.zeros(4)}, {"other": torch.zeros(3)}])
def test_a_tensor_that_is_not_there_or_has_another_shape_is_refused(tmp_path, target):
    save(tmp_path, 3)
    with pytest.raises(CheckpointError, match="doesn't fit this run"):
        load_state_(checkpoint_dir(tmp_path, 3), target, {})


def test_the_digest_of_a_state_is_that_of_its_bits_alone(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / name, 3)
    save(tmp_path / "c", 4)
    digests = [
        checked_manifest(checkpoint_dir(tmp_path / name, step))["state_digest"]
        for name, step in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert digests[0] == digests[1] != digests[2]
