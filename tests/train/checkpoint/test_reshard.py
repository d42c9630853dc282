"""A state saved by some ranks is loaded bit by bit by any other number of them, whole tensors and boxes of tensors."""

from __future__ import annotations

import pytest
import torch
from many_ranks import on_ranks
from training_state import save, training_state

from headwater.core.errors import CheckpointError
from headwater.machine.ranks.mesh import Mesh
from headwater.train.checkpoint.layout import checkpoint_dir
from headwater.train.checkpoint.load import load_state_, read_checkpoint, saved_shapes
from headwater.train.checkpoint.verify import checked_manifest, require_whole

STATE = """
from pathlib import Path
import torch.distributed as dist
from headwater.train.checkpoint.load import load_state_
from headwater.train.checkpoint.save import Saver
from headwater.machine.parallel.boxes import box_of
from headwater.machine.ranks.exchange import local
from headwater.machine.ranks.mesh import WEIGHT_AXES, Mesh
from torch.distributed.tensor import Shard, distribute_tensor

def whole(name, *shape):
    generator = torch.Generator().manual_seed(len(name))
    return torch.randn(shape, generator=generator)

SHAPES = {"embed.weight": (6, 5), "out.weight": (3, 10), "gate.weight": (4, 4), "final_norm.weight": (6,)}

def placed(tensors):
    # what this rank has of tensors: its part along `tensor`, and of that some rows, as FSDP has them
    found, shards = {}, ranks.along(*WEIGHT_AXES)
    for name, tensor in tensors.items():
        alone = Mesh(tensor=ranks.mesh.tensor)
        part = tensor[box_of(name, tensor.shape, alone, ranks.rank % alone.tensor).slices].clone()
        if shards.world_size > 1:
            part = distribute_tensor(part, shards.device_mesh, [Shard(0)], src_data_rank=None)
        found[name] = part
    return found

def owned(tensors):
    copy, copies = ranks.mesh.index(ranks.rank, "replicate"), ranks.mesh.replicate
    return placed({name: tensor for number, (name, tensor) in enumerate(tensors.items()) if number % copies == copy})

if ranks.world_size > 1:
    ranks.lay_out_(mesh)
folder = Path(f"by-{ranks.world_size}")
wholes = {name: whole(name, *shape) for name, shape in SHAPES.items()}
moments = {f"{name}.mean": 2 * tensor for name, tensor in wholes.items()}
results = {}
"""

SAVE = """
saver = Saver(folder, ranks)
saver.begin(4, placed(wholes), owned(moments), {"note": "x"})
saved = saver.finish()
ranks.wait()
saver.close()
results["saved"] = saved is not None
"""

LOAD = """
expected, targets = [placed(wholes), owned(moments)], [placed(wholes), owned(moments)]
for tensor in (*targets[0].values(), *targets[1].values()):
    local(tensor).zero_()
load_state_(Path(f"by-{saved_by}") / "checkpoints" / "step-000000004", *targets, ranks)
same = [torch.equal(local(found[name]), local(tensor)) for found, of in zip(targets, expected) for name, tensor in of.items()]
results["same"] = same
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_some_ranks_save_others_load(tmp_path):
    """One rank saves, four load that and save, three and two each load that and save, and this process reads each."""
    meshes = [(None, Mesh()), (1, Mesh(shard=2, tensor=2)), (4, Mesh(shard=3)), (3, Mesh(replicate=2))]
    for saved_by, mesh in meshes:
        world_size = mesh.world_size
        load = "" if saved_by is None else f"saved_by = {saved_by}\n{LOAD}"
        program = f"from headwater.machine.ranks.mesh import Mesh\nmesh = {mesh!r}\n{STATE}{load}{SAVE}print(json.dumps(results))\n"
        found = on_ranks(world_size, program, tmp_path)
        assert all(all(rank.get("same", [])) for rank in found), (saved_by, world_size, found)
        assert [rank["saved"] for rank in found] == [True] + [False] * (world_size - 1)
        require_saved_state(checkpoint_dir(tmp_path / f"by-{world_size}", 4), world_size)


def require_saved_state(path, saved_by):
    assert require_whole(path)["world_size"] == saved_by
    assert not list(path.glob("note-*"))
    checkpoint = read_checkpoint(path)
    generator = torch.Generator().manual_seed(len("out.weight"))
    assert torch.equal(checkpoint.model["out.weight"], torch.randn(3, 10, generator=generator))
    names = {"embed.weight.mean", "out.weight.mean", "gate.weight.mean", "final_norm.weight.mean"}
    assert checkpoint.optim.keys() == names
    assert checkpoint.state == {"note": "x"}


REFUSED = """
import errno
from headwater.core.errors import StorageError
import headwater.train.checkpoint.save as save

def refuse(file, tensors):
    raise OSError(errno.ENOSPC, "No space left on device")

if ranks.rank == 1:
    save.write_tensors = refuse
saver = Saver(folder, ranks)
saver.begin(4, placed(wholes), owned(moments), {})
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
    mesh = f"from headwater.machine.ranks.mesh import Mesh\nmesh = {Mesh(replicate=2)!r}\n"
    found = on_ranks(2, mesh + STATE + REFUSED, tmp_path)
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
