"""A folder of Hugging Face: what transformers makes of it, what is refused, and what is left alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from made_models import logits_of
from our_models import SEQ_LEN, SHAPES, TEXTS, VOCAB_SIZE, hf, model_like
from safetensors.torch import load_file, save_file

from headwater.core import files, manifests
from headwater.core.errors import ExportError
from headwater.export.hf_card import CardFacts
from headwater.tokens.tokenizer.settings import SPECIAL_TOKENS
from headwater.tokens.tokenizer.tokenizer import Tokenizer

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


@pytest.mark.parametrize(("name", "key"), [("gpt2", "n_positions"), ("llama", "max_position_embeddings")])
def test_positions_beyond_the_rows_of_training_are_kept(tokenizer_dir, tmp_path, name, key):
    out = hf(model_like(name, max_positions=3 * SEQ_LEN), tokenizer_dir, tmp_path / name)
    assert files.read_json(out / "config.json")[key] == 3 * SEQ_LEN
    assert files.read_json(out / "tokenizer_config.json")["model_max_length"] == 3 * SEQ_LEN
    with pytest.raises(ValueError, match="max_positions=32 must be at least seq_len=64"):
        model_like(name, max_positions=32)


def test_bfloat16_weights_are_the_rounded_ones(tokenizer_dir, tmp_path):
    model = model_like("llama")
    out = hf(model, tokenizer_dir, tmp_path / "out", dtype="bfloat16")
    saved = load_file(out / "model.safetensors")
    torch.testing.assert_close(saved["model.embed_tokens.weight"], model.embed.weight.detach().bfloat16())
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    assert files.read_json(out / "config.json")["dtype"] == "bfloat16"


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


def test_the_same_model_is_written_as_the_same_bytes(tokenizer_dir, tmp_path):
    for name in ("one", "two"):
        hf(model_like("gpt2"), tokenizer_dir, tmp_path / name)
    digests = [files.read_json(tmp_path / name / "manifest.json")["files"] for name in ("one", "two")]
    assert digests[0] == digests[1]
    modes = {path.stat().st_mode for path in (tmp_path / "one").iterdir()}
    assert len(modes) == 1, "whoever may read one file of an export may read all of it"
    assert set(digests[0]) >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert "README.md" not in digests[0], "the card is there to be edited"
