"""An export reads a checkpoint tensor by tensor, whatever ranks wrote it, and writes numbered files above a size."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import pytest
import torch
from many_ranks import on_ranks
from our_models import gguf, hf, model_like
from safetensors.torch import load_file

from headwater.core.errors import CheckpointError
from headwater.core.files import read_json
from headwater.train.checkpoint import load
from headwater.train.checkpoint.layout import MODEL, checkpoint_dir
from headwater.train.checkpoint.load import StoredTensors
from headwater.train.checkpoint.save import Saver

SAVE_DIVIDED = """
from pathlib import Path
from safetensors.torch import load_file
from torch.distributed.tensor import Shard, distribute_tensor
from headwater.train.checkpoint.save import Saver
from headwater.machine.ranks.mesh import Mesh

ranks.lay_out_(Mesh(shard=ranks.world_size))
mesh = ranks.along("shard").device_mesh
saver = Saver(Path("divided"), ranks)
weights = {name: distribute_tensor(tensor, mesh, [Shard(0)]) for name, tensor in load_file("weights").items()}
saver.begin(1, weights, {}, {})
saver.finish()
ranks.wait()
saver.close()
print("null")
"""


@pytest.fixture
def saved(tmp_path):
    """A model, and the folder of a checkpoint that one rank wrote of it."""
    model = model_like("gpt2-untied")
    saver = Saver(tmp_path)
    saver.begin(1, model.state_dict(), {}, {})
    saver.finish()
    saver.close()
    return model, checkpoint_dir(tmp_path, 1)


class Watched(Mapping):
    """A state whose tensors are made where they are looked up, and the most bytes of them that were ever alive."""

    def __init__(self, state):
        self.state, self.alive, self.peak, self.looked_up = state, 0, 0, []

    def __getitem__(self, name):
        tensor = self.state[name].detach().clone()
        self.looked_up.append(name)
        self.alive += tensor.nbytes
        self.peak = max(self.peak, self.alive)
        weakref.finalize(tensor, self.forget, tensor.nbytes)
        return tensor

    def forget(self, num_bytes):
        self.alive -= num_bytes

    def __iter__(self):
        return iter(self.state)

    def __len__(self):
        return len(self.state)


@pytest.mark.parametrize("write", [hf, gguf])
@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_the_parameters_of_one_tensor_are_in_memory_at_a_time(tokenizer_dir, tmp_path, name, write):
    model = model_like(name)
    watched = Watched(model.state_dict())
    write(model, tokenizer_dir, tmp_path / "out", state=watched)
    assert watched.peak == model.embed.weight.nbytes, "the largest one"
    assert sorted(watched.looked_up) == sorted(watched.state), "each is read once"


@pytest.mark.slow
def test_the_export_of_divided_weights_has_the_bytes_of_whole_ones(tokenizer_dir, tmp_path, saved):
    model, by_one = saved
    (tmp_path / "weights").write_bytes((by_one / "model.safetensors").read_bytes())
    on_ranks(3, SAVE_DIVIDED, tmp_path)
    divided = checkpoint_dir(tmp_path / "divided", 1)
    assert len(list(divided.glob("model-*.safetensors"))) == 3
    written = [hf(model, tokenizer_dir, tmp_path / "hf" / "of the model")]
    for name, path in (("whole", by_one), ("divided", divided)):
        with StoredTensors(path, MODEL) as stored:
            written.append(hf(model, tokenizer_dir, tmp_path / "hf" / name, state=stored))
    assert len({(folder / "model.safetensors").read_bytes() for folder in written}) == 1


def test_damage_of_a_checkpoint_ends_its_export(tokenizer_dir, tmp_path, saved):
    model, path = saved
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(data)
    with StoredTensors(path, MODEL) as stored, pytest.raises(CheckpointError, match="isn't what was written"):
        hf(model, tokenizer_dir, tmp_path / "out", state=stored)
    assert not (tmp_path / "out").exists()


def test_more_files_than_may_be_open_are_opened_again(tmp_path, saved, monkeypatch):
    model, path = saved
    monkeypatch.setattr(load, "MAX_OPEN_FILES", 1)
    with StoredTensors(path, MODEL) as stored:
        stored._files["another"] = stored._opened("model.safetensors")
        for name, tensor in model.state_dict().items():
            assert torch.equal(stored[name], tensor), name


@pytest.mark.parametrize("max_file_bytes", [1, 8_192, 41_000, 60_000, 10**9])
def test_weights_are_divided_into_files_as_their_hub_divides_them(tokenizer_dir, tmp_path, max_file_bytes):
    split = pytest.importorskip("huggingface_hub").split_torch_state_dict_into_shards
    model = model_like("llama-untied")
    whole = load_file(hf(model, tokenizer_dir, tmp_path / "one") / "model.safetensors")
    out = hf(model, tokenizer_dir, tmp_path / "out", max_file_bytes=max_file_bytes)
    files = sorted(path.name for path in out.glob("*.safetensors"))
    written = {name: load_file(out / name) for name in files}
    together = {name: tensor for tensors in written.values() for name, tensor in tensors.items()}
    assert together.keys() == whole.keys()
    assert all(torch.equal(together[name], tensor) for name, tensor in whole.items())
    places = {name: file for file, tensors in written.items() for name in tensors}
    if len(files) > 1:
        index = read_json(out / "model.safetensors.index.json")
        assert index["weight_map"] == places
        assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())
        whole = {name: whole[name] for name in index["weight_map"]}
    sizes = [[tensor.nbytes for tensor in tensors.values()] for tensors in written.values()]
    assert all(sum(each) <= max_file_bytes or len(each) == 1 for each in sizes)
    if max(map(max, sizes)) <= max_file_bytes:  # theirs puts a larger one between others into a file of its own
        theirs = split(whole, filename_pattern="model{suffix}.safetensors", max_shard_size=max_file_bytes)
        assert places == theirs.tensor_to_filename
    digests = read_json(out / "manifest.json")["files"]
    assert set(files) <= set(digests), "each has its digest"
