"""A folder of Hugging Face, and how its weights are written."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from made_models import logits_of
from many_ranks import on_ranks
from our_models import SEQ_LEN, SHAPES, TEXTS, VOCAB_SIZE, gguf, hf, model_like
from safetensors.torch import load_file, save_file

from headwater.core import files, manifests
from headwater.core.errors import CheckpointError, ExportError
from headwater.core.files import read_json
from headwater.export.hf_card import CardFacts
from headwater.tokens.tokenizer.settings import SPECIAL_TOKENS
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import MODEL, checkpoint_dir
from headwater.train.checkpoint.load import StoredTensors
from headwater.train.checkpoint.save import Saver

BEGIN, END, PAD = 0, 1, 2
HF4_FOLDER = Path(__file__).parents[2] / ".venv-hf4"
HF4_COMMAND = (
    'pip install --no-deps --target .venv-hf4 "transformers==4.57.6" "huggingface-hub<1" "tokenizers>=0.22,<0.23" '
    "requests urllib3 charset-normalizer idna certifi"
)
MESSAGES = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "At the river."}]
NUMBERED = {"llama-untied": {"max_file_bytes": 60_000}, "gpt2": {"max_file_bytes": 20_000}}
"Shapes whose weights are written as several files."


@pytest.fixture(scope="module")
def cases(tmp_path_factory, tokenizer_dir) -> Path:
    """Exports of every shape beside the logits of our own model."""
    folder = tmp_path_factory.mktemp("exports")
    tokens_BT = torch.randint(len(SPECIAL_TOKENS), VOCAB_SIZE, (2, SEQ_LEN), generator=torch.Generator().manual_seed(1))
    tokens_BT[:, 0] = BEGIN
    for name in SHAPES:
        model = model_like(name)
        hf(model, tokenizer_dir, folder / name, **NUMBERED.get(name, {}))
        assert (folder / name / "model.safetensors").exists() == (name not in NUMBERED)
        expected = {"tokens_BT": tokens_BT, "logits_BTV": logits_of(model, tokens_BT)}
        save_file(expected, f"{folder / name}-expected.safetensors")
    case = {"folders": {name: str(folder / name) for name in SHAPES}, "texts": TEXTS, "messages": MESSAGES}
    files.write_json(folder / "cases.json", case)
    return folder / "cases.json"


@pytest.fixture(scope="module", params=["installed transformers", "transformers 4.57"])
def loaded(request, cases) -> dict:
    """What transformers made of the exports: the installed version, and 4.57 from a folder of its own."""
    is_installed = request.param == "installed transformers"
    if is_installed and importlib.util.find_spec("transformers") is None:
        pytest.skip('transformers is not installed: pip install "headwater[hf]"')
    if not is_installed and not HF4_FOLDER.is_dir():
        pytest.skip(f"no transformers 4.57 in {HF4_FOLDER}: {HF4_COMMAND}")
    place = {"PYTHONPATH": "" if is_installed else str(HF4_FOLDER), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("load_export.py")), str(cases)]
    done = subprocess.run(command, env=os.environ | place, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert is_installed or report["version"].startswith("4.57")
    return report


@pytest.mark.parametrize("name", SHAPES)
def test_transformers_computes_the_logits_of_our_model_and_generates(loaded, name):
    found = loaded["models"][name]
    assert found["not_loaded"] == []
    assert found["dtype"] == "torch.float32"
    assert found["max_difference"] < 1e-4, f"transformers {loaded['version']}, {found['class']}"
    assert found["inputs"] == ["attention_mask", "input_ids"], "token_type_ids are refused by the models"
    assert 1 <= found["num_continued"] <= 3


def test_auto_tokenizer_gives_the_begin_token_and_the_ids_of_training(loaded, tokenizer_dir):
    own, found = Tokenizer.load(tokenizer_dir), loaded["tokenizer"]
    expected = [[BEGIN, *own.encode(text)] for text in TEXTS]
    assert found["plain_ids"] == expected
    assert found["ids"][:-1] == expected[:-1], "without special tokens in the text both ways agree"
    assert found["decoded"][:-1] == TEXTS[:-1]
    assert found["special"] == [BEGIN, END, PAD]
    assert found["max_length"] == SEQ_LEN
    assert found["pair"] == [BEGIN, *own.encode("a"), *own.encode("b")]
    # text that spells a special token becomes it by default
    assert END in found["ids"][-1] and SPECIAL_TOKENS.index("<|im_start|>") in found["ids"][-1]
    assert found["decoded_with_special"][-1] == SPECIAL_TOKENS[BEGIN] + TEXTS[-1]
    assert not set(found["plain_ids"][-1][1:]) & set(range(len(SPECIAL_TOKENS)))


def test_chat_template_masks_all_but_what_the_assistant_says(loaded, tokenizer_dir):
    own, found = Tokenizer.load(tokenizer_dir), loaded["tokenizer"]
    assert found["chat_text"] == "<|begin_of_text|><|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"
    assert found["chat_ids"].count(BEGIN) == 1
    said = [token for token, is_said in zip(found["chat_ids"], found["chat_mask"], strict=True) if is_said]
    assert said == [*own.encode("At the river."), own.special["<|im_end|>"]]


def test_config_has_the_keys_of_both_major_versions(cases):
    config = files.read_json(cases.parent / "qwen3" / "config.json")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500_000.0
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert [config[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [BEGIN, END, PAD]
    tokenizer = files.read_json(cases.parent / "qwen3" / "tokenizer_config.json")
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["chat_template"] == (cases.parent / "qwen3" / "chat_template.jinja").read_text()


def test_an_export_replaces_an_export_and_nothing_else(tokenizer_dir, tmp_path):
    model, out = model_like("llama"), tmp_path / "out"
    hf(model, tokenizer_dir, out, card=CardFacts(facts={"run": "a|b"}), key="one")
    assert manifests.is_current(out, "one") and "| run | a\\|b |" in (out / "README.md").read_text()
    hf(model, tokenizer_dir, out, key="two")
    assert manifests.is_current(out, "two")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ExportError, match="is no export of headwater"):
        hf(model, tokenizer_dir, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


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


def test_damage_of_a_checkpoint_ends_its_export(tokenizer_dir, tmp_path, saved):
    model, path = saved
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(data)
    with StoredTensors(path, MODEL) as stored, pytest.raises(CheckpointError, match="isn't what was written"):
        hf(model, tokenizer_dir, tmp_path / "out", state=stored)
    assert not (tmp_path / "out").exists()
