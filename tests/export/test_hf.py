from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from headwater.core import files, manifests
from headwater.core.errors import ExportError
from headwater.export.base.config import config_of_settings, settings_of_config
from headwater.export.base.facts import facts_of
from headwater.export.base.folder_weights import FolderValues
from headwater.export.base.tokenizer import tokenizer_of
from headwater.export.base.weights import open_values
from headwater.export.hf import export_hf
from headwater.export.hf_card import CardFacts
from headwater.export.hf_weights import write_weights
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.settings import SPECIAL_TOKENS, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer

BEGIN, END, PAD = 0, 1, 2
VOCAB_SIZE, TOKENIZER_SIZE, SEQ_LEN = 320, 310, 64  # a model may have more rows than the tokenizer has tokens
HF4_FOLDER = Path(__file__).parents[2] / ".venv-hf4"
HF4_COMMAND = (
    'pip install --no-deps --target .venv-hf4 "transformers==4.57.6" "huggingface-hub<1" "tokenizers>=0.22,<0.23" '
    "requests urllib3 charset-normalizer idna certifi"
)

TEXTS = [
    "The river starts at its headwater.",
    "",
    " 1 + 2 = 3\n\n\tif x: don't\r\n",
    "naïve Ω 中文 🙂\u200d🙂",
    "say <|end_of_text|> and <|im_start|>",
]
MESSAGES = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "At the river."}]

ROTARY = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16}
ORIGINAL = {"original_max_position_embeddings": 32}
SLOW_YARN = {"rope_type": "yarn", "factor": 3.0, "beta_fast": 8.0, "beta_slow": 0.5, "attention_factor": 1.5}
SHAPES = {
    "qwen3": {"family": "qwen3", "num_heads": 4, "num_kv_heads": 2, "head_dim": 16},
    "qwen3-untied": {"family": "qwen3", "num_heads": 4, "num_kv_heads": 1, "head_dim": 8, "tied_embeddings": False},
    "llama": {"family": "llama", "num_heads": 4, "num_kv_heads": 2, "head_dim": 16},
    "llama-untied": {"family": "llama", "num_heads": 2, "num_kv_heads": 2, "head_dim": 8, "tied_embeddings": False},
    "qwen3-biases": {"family": "qwen3", "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "attention_bias": True},
    "qwen3-window": {"family": "qwen3", "num_heads": 2, "num_kv_heads": 2, "head_dim": 8, "sliding_window": 5},
    "qwen3-yarn": {**ROTARY, "family": "qwen3", "rope_scaling": {"rope_type": "yarn", "factor": 4.0, **ORIGINAL}},
    "qwen2": {**ROTARY, "family": "llama", "attention_bias": True},
    "qwen2-window": {**ROTARY, "family": "llama", "attention_bias": True, "sliding_window": 7},
    "mistral": {**ROTARY, "family": "llama", "sliding_window": 6},
    "llama3": {**ROTARY, "family": "llama", "rope_scaling": {"rope_type": "llama3", "factor": 8.0, **ORIGINAL}},
    "llama-yarn": {**ROTARY, "family": "llama", "rope_scaling": {**SLOW_YARN, **ORIGINAL}},
    "gpt2": {"family": "gpt2", "num_heads": 4, "num_kv_heads": 4, "head_dim": 8},
    "gpt2-untied": {"family": "gpt2", "num_heads": 2, "num_kv_heads": 2, "head_dim": 16, "tied_embeddings": False},
}
NUMBERED = {"llama-untied": {"max_file_bytes": 60_000}, "gpt2": {"max_file_bytes": 20_000}}
"Shapes whose weights are written as several files."


def model_settings(**shape) -> ModelSettings:
    return ModelSettings(
        vocab_size=VOCAB_SIZE, num_layers=2, d_model=32, d_ff=48, seq_len=SEQ_LEN, rope_theta=500_000.0, **shape
    )


def random_model(settings: ModelSettings) -> Transformer:
    """Weights large enough that every parameter, and the positions, change the logits visibly."""
    model = Transformer(settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm.weight" in name else 0.0, 0.3, generator=generator)
    return model


def logits_of(model: Transformer, tokens_BT: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.logits(model.hidden(tokens_BT, torch.zeros_like(tokens_BT)))


def random_tokens() -> torch.Tensor:
    tokens_BT = torch.randint(len(SPECIAL_TOKENS), VOCAB_SIZE, (2, SEQ_LEN), generator=torch.Generator().manual_seed(1))
    tokens_BT[:, 0] = BEGIN
    return tokens_BT


def make_tokenizer(folder: Path) -> Tokenizer:
    train_tokenizer({"text": TEXTS * 3}, TokenizerSettings(vocab_size=TOKENIZER_SIZE), folder, "", lambda line: None)
    return Tokenizer.load(folder)


def export(model: Transformer, tokenizer_dir: Path, out_dir: Path, **changes) -> None:
    state = changes.pop("state", model.state_dict())
    export_hf(state, model.settings, tokenizer_dir, out_dir, **changes)


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    make_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory, tokenizer_dir) -> Path:
    """Exports of every family beside the logits of our own model."""
    folder = tmp_path_factory.mktemp("exports")
    for name, shape in SHAPES.items():
        model = random_model(model_settings(**shape))
        export(model, tokenizer_dir, folder / name, **NUMBERED.get(name, {}))
        tokens_BT = random_tokens()
        expected = {"tokens_BT": tokens_BT, "logits_BTV": logits_of(model, tokens_BT)}
        save_file(expected, f"{folder / name}-expected.safetensors")
    case = {"folders": {name: str(folder / name) for name in SHAPES}, "texts": TEXTS, "messages": MESSAGES}
    files.write_json(folder / "cases.json", case)
    return folder / "cases.json"


def loaded_by(cases: Path, python_path: str) -> dict:
    environment = {**os.environ, "PYTHONPATH": python_path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for name in NUMBERED:
        assert not (cases.parent / name / "model.safetensors").exists()
    script = Path(__file__).with_name("load_export.py")
    command = [sys.executable, str(script), str(cases)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=["installed transformers", "transformers 4.57"])
def loaded(request, cases) -> dict:
    """What transformers made of the exports: the installed version, and 4.57 from a folder of its own."""
    if request.param == "installed transformers":
        if importlib.util.find_spec("transformers") is None:
            pytest.skip('transformers is not installed: pip install "headwater[hf]"')
        return loaded_by(cases, "")
    if not HF4_FOLDER.is_dir():
        pytest.skip(f"no transformers 4.57 in {HF4_FOLDER}: {HF4_COMMAND}")
    report = loaded_by(cases, str(HF4_FOLDER))
    assert report["version"].startswith("4.57")
    return report


@pytest.mark.parametrize("name", SHAPES)
def test_transformers_computes_the_logits_of_our_model_and_generates(loaded, name):
    found = loaded["models"][name]
    assert found["not_loaded"] == []
    assert found["dtype"] == "torch.float32"
    assert found["max_difference"] < 1e-4, f"transformers {loaded['version']}, {found['class']}"
    assert found["inputs"] == ["attention_mask", "input_ids"], "token_type_ids are refused by the models"
    assert 1 <= found["num_continued"] <= 3


def test_the_comparison_of_logits_sees_a_wrong_rope_theta():
    settings = model_settings(**SHAPES["qwen3"])
    model = random_model(settings)
    other = random_model(settings.model_copy(update={"rope_theta": 10_000.0}))
    tokens_BT = random_tokens()
    assert (logits_of(model, tokens_BT) - logits_of(other, tokens_BT)).abs().max() > 0.1


def test_auto_tokenizer_gives_the_begin_token_and_the_ids_of_training(loaded, tokenizer_dir):
    own = Tokenizer.load(tokenizer_dir)
    expected = [[BEGIN, *own.encode(text)] for text in TEXTS]
    found = loaded["tokenizer"]
    assert found["plain_ids"] == expected
    assert found["ids"][:4] == expected[:4], "without special tokens in the text both ways agree"
    assert found["decoded"][:4] == TEXTS[:4]
    assert found["special"] == [BEGIN, END, PAD]
    assert found["max_length"] == SEQ_LEN
    assert found["pair"] == [BEGIN, *own.encode("a"), *own.encode("b")]


def test_text_that_spells_a_special_token_becomes_it_by_default(loaded):
    found = loaded["tokenizer"]
    assert END in found["ids"][4] and SPECIAL_TOKENS.index("<|im_start|>") in found["ids"][4]
    assert found["decoded_with_special"][4] == SPECIAL_TOKENS[BEGIN] + TEXTS[4]
    assert not set(found["plain_ids"][4][1:]) & set(range(len(SPECIAL_TOKENS)))


def test_chat_template_masks_all_but_what_the_assistant_says(loaded, tokenizer_dir):
    found = loaded["tokenizer"]
    assert found["chat_text"] == "<|begin_of_text|><|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n"
    own = Tokenizer.load(tokenizer_dir)
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


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("max_file_bytes", [10**9, 20_000])
def test_what_was_exported_comes_back_to_the_bit(tmp_path, name, max_file_bytes):
    longer = {"max_positions": 256} if name in ("llama", "gpt2") else {}
    settings = model_settings(**SHAPES[name], **longer)
    state = random_model(settings).state_dict()
    write_weights(tmp_path, state, settings, torch.float32, max_file_bytes)
    found = settings_of_config(config_of_settings(settings, "float32"))
    longest = {"qwen3-yarn": 128, "llama-yarn": 96}.get(name, settings.num_positions)
    changes = {"seq_len": longest, "max_positions": longest} | ({"rope_theta": 1e4} if "gpt2" in name else {})
    assert found == settings.model_copy(update=changes)
    values = FolderValues(tmp_path, settings)
    for ours, tensor in state.items():
        assert torch.equal(values.value(ours, tensor.shape), tensor), ours


def test_an_exported_folder_is_a_base_with_the_same_tokenizer(tokenizer_dir, cases):
    own, base = Tokenizer.load(tokenizer_dir), facts_of(str(cases.parent / "qwen3"))
    tokenizer = tokenizer_of(base)
    assert tokenizer.markers == own.markers and tokenizer.special == own.special
    assert tokenizer.encode_many(TEXTS) == own.encode_many(TEXTS)
    state = random_model(model_settings(**SHAPES["qwen3"])).state_dict()
    with open_values(base) as value:
        assert all(torch.equal(value(name, tensor.shape), tensor) for name, tensor in state.items())


def test_positions_beyond_the_rows_of_training_are_kept(tokenizer_dir, tmp_path):
    for name, key in (("gpt2", "n_positions"), ("llama", "max_position_embeddings")):
        model = random_model(model_settings(**SHAPES[name], max_positions=3 * SEQ_LEN))
        export(model, tokenizer_dir, tmp_path / name)
        assert files.read_json(tmp_path / name / "config.json")[key] == 3 * SEQ_LEN
        assert files.read_json(tmp_path / name / "tokenizer_config.json")["model_max_length"] == 3 * SEQ_LEN
    saved = load_file(tmp_path / "gpt2" / "model.safetensors")
    assert saved["transformer.wpe.weight"].shape == (3 * SEQ_LEN, 32)
    with pytest.raises(ValueError, match="max_positions=32 must be at least seq_len=64"):
        model_settings(**SHAPES["gpt2"], max_positions=32)


def test_a_tokenizer_of_another_model_is_refused(tokenizer_dir, tmp_path):
    small = random_model(model_settings(**SHAPES["qwen3"]).model_copy(update={"vocab_size": 128}))
    with pytest.raises(ExportError, match="has 310 tokens and the model has 128"):
        export(small, tokenizer_dir, tmp_path / "out")
    model = random_model(model_settings(**SHAPES["qwen3"]))
    with tempfile.TemporaryDirectory() as other:
        for name in ("manifest.json", "tokenizer.json"):
            text = (tokenizer_dir / name).read_text().replace("<|pad|>", "<|path|>")
            Path(other, name).write_text(text)
        with pytest.raises(ExportError, match="is not the file that its manifest"):
            export(model, Path(other), tmp_path / "out")
    with pytest.raises(ExportError, match="nowhere"):
        export(model, tmp_path / "nowhere", tmp_path / "out")
    assert list(tmp_path.iterdir()) == [], "a refused export leaves nothing"


def test_bfloat16_weights_are_the_rounded_ones(tokenizer_dir, tmp_path):
    model = random_model(model_settings(**SHAPES["llama"]))
    export(model, tokenizer_dir, tmp_path / "out", dtype="bfloat16")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    torch.testing.assert_close(saved["model.embed_tokens.weight"], model.embed.weight.detach().bfloat16())
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    assert files.read_json(tmp_path / "out" / "config.json")["dtype"] == "bfloat16"


def test_an_export_replaces_an_export_and_nothing_else(tokenizer_dir, tmp_path):
    model = random_model(model_settings(**SHAPES["llama"]))
    out = tmp_path / "out"
    scores = {"this model, held-out real text": 1.39, "a 5-gram model, the same real text": 1.35134}
    card = CardFacts(facts={"run": "a|b", "tokens seen": 3_000_000}, scores=scores)
    export(model, tokenizer_dir, out, card=card, key="one")
    assert manifests.is_current(out, "one")
    text = (out / "README.md").read_text()
    assert "| run | a\\|b |" in text and "| tokens seen | 3,000,000 |" in text
    assert "| this model, held-out real text | 1.390 |" in text
    assert "| a 5-gram model, the same real text | 1.351 |" in text
    export(model, tokenizer_dir, out, key="two")
    assert manifests.is_current(out, "two")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(ExportError, match="is no export of headwater"):
        export(model, tokenizer_dir, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_the_same_model_is_written_as_the_same_bytes(tokenizer_dir, tmp_path):
    model = random_model(model_settings(**SHAPES["gpt2"]))
    for name in ("one", "two"):
        export(model, tokenizer_dir, tmp_path / name)
    digests = [files.read_json(tmp_path / name / "manifest.json")["files"] for name in ("one", "two")]
    assert digests[0] == digests[1]
    modes = {path.stat().st_mode for path in (tmp_path / "one").iterdir()}
    assert len(modes) == 1, "whoever may read one file of an export may read all of it"
    assert set(digests[0]) >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert "README.md" not in digests[0], "the card is there to be edited"


def test_a_data_card_lies_beside_the_model_and_the_model_card_names_it(tokenizer_dir, tmp_path):
    model = random_model(model_settings(**SHAPES["llama"]))
    card = {
        "format": "headwater-data-card",
        "name": "mine",
        "sources": {},
        "licences": None,
        "decontamination": None,
        "redaction": None,
        "settings": {"seed": 0},
        "digests": {"corpus": "abc"},
    }
    export(model, tokenizer_dir, tmp_path / "with", data_card=card)
    export(model, tokenizer_dir, tmp_path / "without")
    assert files.read_json(tmp_path / "with" / "data_card.json") == card
    assert "| corpus | abc |" in (tmp_path / "with" / "DATA_CARD.md").read_text()
    assert "(DATA_CARD.md)" in (tmp_path / "with" / "README.md").read_text()
    assert {"DATA_CARD.md", "data_card.json"} <= set(files.read_json(tmp_path / "with" / "manifest.json")["files"])
    assert "DATA_CARD" not in (tmp_path / "without" / "README.md").read_text()
