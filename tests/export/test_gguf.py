"""A GGUF file: read back here, by the package gguf, and by llama.cpp itself where that is installed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llama_cpp import ask_all, why_missing
from their_tokenizers import SPECIAL, TEXT, files_of
from their_tokenizers import VOCAB_SIZE as THEIR_VOCAB_SIZE
from typer.testing import CliRunner

from headwater.cli.main import command_line
from headwater.core.conversations import Message
from headwater.core.errors import ConfigError, ExportError
from headwater.core.numbers import size
from headwater.evaluate.scorer import Scorer
from headwater.export.base.facts import facts_of
from headwater.export.base.gguf import GgufFile
from headwater.export.base.tokenizer import tokenizer_of
from headwater.export.base.weights import model_of
from headwater.export.gguf import FORMATS, export_gguf, q4_0, q8_0
from headwater.model.names import PRE_TOKENIZERS, architecture
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.conversation import prompt_ids
from headwater.tokens.tokenizer.foreign import write_foreign
from headwater.tokens.tokenizer.settings import MIN_VOCAB_SIZE, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer

gguf = pytest.importorskip("gguf", reason='needs gguf: pip install "headwater[gguf]"')
VOCAB_SIZE, SEQ_LEN = 320, 64  # rows of the model; the tokenizer has 310 tokens
TEXTS = [TEXT, "", " ", "naïve Ω 中文 🙂\u200d🙂", "say <|im_end|> and\n\n\t it's 1,234"]
ASKED = [Message("user", "Where does the river start?")]
ORIGINAL = {"original_max_position_embeddings": 32}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, **ORIGINAL}
YARN = {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5, **ORIGINAL}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"family": "qwen3", "head_dim": 32},
    "qwen3-biases-untied": {"family": "qwen3", "attention_bias": True, "tied_embeddings": False},
    "llama": {"family": "llama", "head_dim": 32, "norm_eps": 1e-5},
    "qwen2": {"family": "llama", "attention_bias": True, "tied_embeddings": False},
    "gpt2": {"family": "gpt2", "num_kv_heads": 4},
    "gpt2-untied": {"family": "gpt2", "num_kv_heads": 4, "tied_embeddings": False},
}
STRETCHED = {
    "llama-llama3": {"family": "llama", "rope_scaling": LLAMA3},
    "llama-yarn": {"family": "llama", "rope_scaling": YARN},
    "qwen3-yarn": {"family": "qwen3", "rope_scaling": YARN},
}


def settings_of(**changes: Any) -> ModelSettings:
    sizes = {"num_layers": 2, "d_model": 64, "d_ff": 96, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16}
    given = {**sizes, "seq_len": SEQ_LEN, "vocab_size": VOCAB_SIZE, "max_positions": SEQ_LEN, **changes}
    return ModelSettings.model_validate(given)


def random_model(settings: ModelSettings) -> Transformer:
    """Weights large enough that every parameter, and the positions, change the scores visibly."""
    model, generator = Transformer(settings), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm.weight" in name else 0.0, 0.3, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "own"
    train_tokenizer({"made up": [TEXT] * 20}, TokenizerSettings(vocab_size=310), folder, "key", lambda line: None)
    return folder


def export(model: Transformer, tokenizer_dir: Path, out_dir: Path, type: str = "f32", **more: Any) -> Path:
    state = more.pop("state", model.state_dict())
    export_gguf(state, model.settings, tokenizer_dir, out_dir, type=type, name="made-up", **more)
    return out_dir / f"made-up-{type}.gguf"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_float32_file_gives_back_model_and_tokenizer_to_the_bit(tmp_path, tokenizer_dir, name):
    model = random_model(settings_of(**FAMILIES[name]))
    path = export(model, tokenizer_dir, tmp_path / "out")
    base = facts_of(str(path))
    assert base.model == model.settings
    again, rows = model_of(base), torch.randint(VOCAB_SIZE, (2, SEQ_LEN), generator=torch.Generator().manual_seed(1))
    assert {
        key: torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items()
    } == dict.fromkeys(model.state_dict(), True)
    documents = torch.zeros_like(rows)
    assert torch.equal(again.logits(again.hidden(rows, documents)), model.logits(model.hidden(rows, documents)))
    own, theirs = Tokenizer.load(tokenizer_dir), tokenizer_of(base)
    assert theirs.encode_many(TEXTS) == own.encode_many(TEXTS)
    assert theirs.markers == own.markers


def test_a_tokenizer_of_single_bytes_has_an_empty_list_of_merges(tmp_path):
    folder = tmp_path / "tokenizer"
    settings = TokenizerSettings(vocab_size=MIN_VOCAB_SIZE)
    train_tokenizer({"made up": [TEXT] * 20}, settings, folder, "key", lambda line: None)
    path = export(random_model(settings_of()), folder, tmp_path / "out")
    assert json.loads((folder / "tokenizer.json").read_bytes())["model"]["merges"] == []
    assert GgufFile(path).get("tokenizer.ggml.merges") == []
    assert struct.pack("<IIQ", 9, 8, 0) in path.read_bytes().split(b"tokenizer.ggml.merges")[1][:16]
    assert tokenizer_of(facts_of(str(path))).encode_many(TEXTS) == Tokenizer.load(folder).encode_many(TEXTS)


@pytest.mark.parametrize("type", FORMATS)
def test_matrices_are_what_the_package_makes_of_them_and_vectors_are_float32(tmp_path, tokenizer_dir, type):
    model = random_model(settings_of(**FAMILIES["gpt2"]))
    tensors = {
        each.name: each for each in gguf.GGUFReader(export(model, tokenizer_dir, tmp_path / "out", type)).tensors
    }
    kind, state = gguf.GGMLQuantizationType[type.upper()], model.state_dict()
    found = tensors["blk.1.ffn_down.weight"]
    expected = gguf.quants.quantize(state["blocks.1.mlp.down.weight"].numpy(), kind)
    assert found.tensor_type == kind
    assert np.array_equal(found.data.view(np.uint8), expected.view(np.uint8))
    for theirs, ours in {
        "position_embd.weight": "positions.weight",
        "blk.0.ffn_up.bias": "blocks.0.mlp.up.bias",
    }.items():
        assert np.array_equal(tensors[theirs].data, state[ours].numpy())


@pytest.mark.parametrize(("ours", "kind"), [(q8_0, "Q8_0"), (q4_0, "Q4_0")])
def test_blocks_equal_those_of_the_package_at_zeros_halves_and_extremes(ours, kind):
    rows = np.random.default_rng(0).normal(size=(64, 96)).astype(np.float32)
    rows[0], rows[1], rows[2] = 0, np.arange(96) - 47.5, np.linspace(-1e-30, 1e-30, 96)
    rows[3, :32], rows[4, 40] = 127, -1e5
    rows[3, 1:5] = 0.5, -0.5, 2.5, 126.5
    expected = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind])
    assert ours(rows).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("changes", "type", "words"),
    [
        ({"sliding_window": 8}, "f32", "sliding_window=8, and llama.cpp's qwen3 sees all tokens"),
        ({"rope_scaling": LLAMA3}, "f32", "rope_scaling.rope_type=llama3, which llama.cpp's qwen3 has no table for"),
        (
            {"rope_scaling": {**YARN, "beta_slow": 0.01}},
            "f32",
            "betas, or limits between pairs, that llama.cpp doesn't",
        ),
        ({"family": "llama", "attention_bias": True, "head_dim": 32}, "f32", "must be d_model=64 in llama.cpp's qwen2"),
        ({"d_model": 48, "d_ff": 96}, "q8_0", r"\(rows are multiples of 32 there\): rows of token_embd.weight have 48"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(tmp_path, tokenizer_dir, changes, type, words):
    with pytest.raises(ExportError, match=words):
        export(Transformer(settings_of(**changes)), tokenizer_dir, tmp_path / "out", type)
    assert not (tmp_path / "out").exists()


def test_numbers_beyond_a_format_are_refused_and_an_earlier_file_stays(tmp_path, tokenizer_dir):
    model = random_model(settings_of(**FAMILIES["qwen3"]))
    before = export(model, tokenizer_dir, tmp_path / "out", "f16").read_bytes()
    model.state_dict()["blocks.1.mlp.up.weight"][3, 4] = 1e5
    with pytest.raises(ExportError, match=r"blk.1.ffn_up.weight holds NaN or numbers above 65,504"):
        export(model, tokenizer_dir, tmp_path / "out", "f16")
    assert (tmp_path / "out" / "made-up-f16.gguf").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("pattern", PRE_TOKENIZERS)
def test_a_public_tokenizer_keeps_its_ids_its_template_and_its_ends(tmp_path, pattern):
    config = {"eos_token": "<|im_end|>", "chat_template": "{{ messages }}"}
    write_foreign(files_of(pattern, config), THEIR_VOCAB_SIZE, tmp_path / "tokenizer", "key")
    own = Tokenizer.load(tmp_path / "tokenizer")
    model = random_model(settings_of(vocab_size=THEIR_VOCAB_SIZE))
    file = GgufFile(export(model, tmp_path / "tokenizer", tmp_path / "out"))
    assert file.get("tokenizer.ggml.pre") == PRE_TOKENIZERS[pattern]
    assert file.get("tokenizer.chat_template") == "{{ messages }}"
    assert file.get("tokenizer.ggml.eos_token_id") == own.special["<|endoftext|>"]
    assert file.get("tokenizer.ggml.eot_token_id") == own.special["<|im_end|>"]
    types = file.get("tokenizer.ggml.token_type")
    assert [types[own.special[token]] for token in (*SPECIAL, "<tool>")] == [3, 3, 3, 4]
    assert types[-1] == 5, "a row without a token is unused"
    assert Tokenizer.of_files(file.tokenizer_files(), THEIR_VOCAB_SIZE).encode_many(TEXTS) == own.encode_many(TEXTS)


def test_a_tokenizer_that_llama_cpp_has_no_rules_for_is_refused(tmp_path):
    table = json.loads(files_of("qwen2")["tokenizer.json"])
    table["model"]["ignore_merges"] = True
    files = files_of("qwen2") | {"tokenizer.json": json.dumps(table).encode()}
    write_foreign(files, THEIR_VOCAB_SIZE, tmp_path / "tokenizer", "key")
    with pytest.raises(ExportError, match="as qwen2 and takes a word that is a token whole"):
        export(Transformer(settings_of(vocab_size=THEIR_VOCAB_SIZE)), tmp_path / "tokenizer", tmp_path / "out")


@pytest.mark.slow
def test_the_verb_writes_a_file_with_a_modelfile_once(finished):
    def export_by(*words: str) -> str:
        result = CliRunner().invoke(command_line("export"), ["export", *words])
        if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    run = finished.run_dir
    folder = run / "export" / "gguf-bf16"
    path = folder / f"{run.name}-bf16.gguf"
    first = export_by(str(run), "--to", "gguf", "--type", "bf16")
    expected = [f"{path} has the model of step 24; {size(path.stat().st_size)}", f"llama.cpp: llama-cli -m {path}"]
    expected.append(f"ollama: ollama create {path.stem} -f {folder}/Modelfile")
    assert first.splitlines() == [f"exported {folder}", *expected]
    assert export_by("--run", str(run), "--to", "gguf", "--type", "bf16").splitlines() == expected
    with pytest.raises(ConfigError, match=f"as in `headwater export {run} --to gguf`; found gguf {run}"):
        export_by("gguf", str(run))
    assert facts_of(str(path)).model.family == "qwen3"
    lines = (folder / "Modelfile").read_text().splitlines()
    assert f"FROM ./{run.name}-bf16.gguf" in lines
    assert {'PARAMETER stop "<|im_end|>"', 'PARAMETER stop "<|end_of_text|>"'} <= set(lines)


@pytest.mark.slow
@pytest.mark.skipif(why_missing() is not None, reason=str(why_missing()))
def test_llama_cpp_reads_the_same_ids_and_computes_the_same_scores(tmp_path, tokenizer_dir):
    """In float32, with its cache in float32, to rounding; GPT-2's GELU it looks up in a table of float16."""
    tokenizer, requests, expected = Tokenizer.load(tokenizer_dir), [], []
    prompts = [
        torch.randint(32, 310, (size,), generator=torch.Generator().manual_seed(size)).tolist() for size in (3, 60)
    ]
    for name, changes in {**FAMILIES, **STRETCHED}.items():
        model = random_model(settings_of(**changes))
        expected.append(torch.stack([Scorer(model).next_logits(prompt) for prompt in prompts]).numpy())
        for type in ("f32", "q8_0") if name == "qwen3" else ("f32",):
            file = export(model, tokenizer_dir, tmp_path / f"{name}-{type}", type, is_tuned=True)
            asked = {"vocab_size": VOCAB_SIZE, "context": SEQ_LEN, "cache": "F32", "prompts": prompts, "texts": TEXTS}
            requests.append({"file": file, **asked, "conversations": [[ASKED[0]._asdict()]]})
    answers = ask_all(requests, tmp_path)
    nearly = answers.pop(1)  # qwen3 in q8_0
    for (name, changes), found, ours in zip({**FAMILIES, **STRETCHED}.items(), answers, expected, strict=True):
        tolerance = 1e-2 if changes["family"] == "gpt2" else 1e-3
        assert np.abs(found.logits - ours).max() < tolerance, f"{name}, {architecture(settings_of(**changes))}"
        assert found.ids == tokenizer.encode_many(TEXTS)
        assert (found.begin, found.ends) == (tokenizer.begin_id, [True, True])
    assert 1e-3 < np.abs(nearly.logits - expected[0]).max() < 1
    assert nearly.conversations == [prompt_ids(tokenizer, ASKED)]
