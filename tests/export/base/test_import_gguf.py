from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from their_tokenizers import SPECIAL, TEXT, VOCAB_SIZE, table

from headwater.core.errors import ConfigError
from headwater.export.base.facts import facts_of
from headwater.export.base.gguf import GgufFile
from headwater.export.base.tokenizer import tokenizer_of
from headwater.export.base.weights import GgufValues
from headwater.model.names import shapes
from headwater.model.settings import ModelSettings

gguf = pytest.importorskip("gguf", reason='needs gguf: pip install "headwater[gguf]"')
ROTARY = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "max_positions": 64, "norm_eps": 1e-5}
MODELS = {
    "llama": {**ROTARY, "family": "llama", "rope_theta": 5e5},
    "qwen2": {**ROTARY, "family": "llama", "attention_bias": True, "tied_embeddings": False},
    "qwen3": {**ROTARY, "family": "qwen3", "head_dim": 16},
}
THEIR_NAMES = {
    "embed": "token_embd",
    "final_norm": "output_norm",
    "head": "output",
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "query_norm": "attn_q_norm",
    "key_norm": "attn_k_norm",
    "mlp_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def settings_of(architecture: str) -> ModelSettings:
    return ModelSettings(vocab_size=VOCAB_SIZE, num_layers=2, d_model=32, d_ff=64, seq_len=64, **MODELS[architecture])


def random_weights(model: ModelSettings) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.empty(shape).normal_(generator=generator) for name, shape in shapes(model).items()}


def write_gguf(
    path: Path, architecture: str, quantised: Any = None, left_out: Sequence[str] = (), **changes: Any
) -> dict[str, torch.Tensor]:
    """Write a model as llama.cpp's converter does; `changes` are keys, or tensors where they end in .weight."""
    model = settings_of(architecture)
    weights = random_weights(model)
    writer = gguf.GGUFWriter(path, architecture)
    keys: dict[str, Any] = {
        "block_count": 2,
        "context_length": 64,
        "embedding_length": 32,
        "feed_forward_length": 64,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": model.rope_theta,
        "rope.dimension_count": model.head_dim,
    }
    pre = changes.pop("pre", "llama-bpe")
    keys |= {"attention.key_length": 16, "attention.value_length": 16} if architecture == "qwen3" else {}
    for name, value in {
        **keys,
        **{name: each for name, each in changes.items() if not name.endswith(".weight")},
    }.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_string if isinstance(value, str) else None
        (add or writer.add_uint32)(name if name.startswith("split") else f"{architecture}.{name}", value)
    vocabulary = table("llama3")["model"]["vocab"]
    named = {id: token for token, id in vocabulary.items()}
    tokens = [named.get(id, f"[PAD{id}]") for id in range(VOCAB_SIZE)]
    kinds = [3 if token in SPECIAL or token == "<tool>" else 5 if token.startswith("[PAD") else 1 for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    if "token_type" not in left_out:
        writer.add_token_types(kinds)
    if "merges" not in left_out:
        writer.add_token_merges(table("llama3")["model"]["merges"])
    writer.add_eos_token_id(0)
    for name, tensor in weights.items():
        *_, module, kind = name.split(".")
        theirs = f"{THEIR_NAMES[module]}.{kind}"
        theirs = f"blk.{name.split('.')[1]}.{theirs}" if name.startswith("blocks") else theirs
        values = tensor.numpy()
        if architecture == "llama" and module in ("query", "key"):
            values = values.reshape(-1, 2, 4, 32).swapaxes(1, 2).reshape(values.shape)
        values = changes.get(theirs, values)
        if values is not None and quantised is not None and values.ndim == 2:
            writer.add_tensor(theirs, gguf.quants.quantize(values, quantised), raw_dtype=quantised)
        elif values is not None:
            writer.add_tensor(theirs, np.ascontiguousarray(values, dtype=np.float32))
    for name in changes:
        if name == "rope_freqs.weight":
            writer.add_tensor(name, np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.mark.parametrize("architecture", MODELS)
def test_settings_and_weights_come_back_to_the_bit(tmp_path, architecture):
    weights = write_gguf(tmp_path / "m.gguf", architecture)
    file = GgufFile(tmp_path / "m.gguf")
    assert file.settings == settings_of(architecture)
    values = GgufValues(file)
    for name, tensor in weights.items():
        assert torch.equal(values.value(name, tensor.shape), tensor), name
        part = (slice(3, 21), slice(2, 9))[: tensor.dim()]
        assert torch.equal(values.value(name, tensor.shape, part), tensor[part]), name


@pytest.mark.parametrize("kind", [None, "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_a_file_is_read_as_the_package_reads_it(tmp_path, kind):
    write_gguf(tmp_path / "m.gguf", "qwen3", None if kind is None else gguf.GGMLQuantizationType[kind])
    ours, theirs = GgufFile(tmp_path / "m.gguf"), gguf.GGUFReader(tmp_path / "m.gguf")
    fields = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert ours.keys == fields and len(fields) > 15
    assert ours.tensors.keys() == {tensor.name for tensor in theirs.tensors}
    for tensor in theirs.tensors:
        place = ours.tensors[tensor.name]
        assert (list(place.shape), place.kind, place.start) == (
            tensor.shape.tolist(),
            tensor.tensor_type,
            tensor.data_offset,
        )
        for rows in (slice(None), slice(3, 7)):
            expected = gguf.quants.dequantize(tensor.data[rows], tensor.tensor_type)
            assert np.array_equal(ours.dequantized(tensor.name, rows), expected)


@pytest.mark.parametrize(
    "change", [{"start": 1 << 62}, {"start": 1 << 70}, {"shape": (1 << 40, 1 << 20)}, {"kind": 99}]
)
def test_a_tensor_that_claims_more_than_there_is_is_refused(tmp_path, change):
    write_gguf(tmp_path / "m.gguf", "llama")
    file = GgufFile(tmp_path / "m.gguf")
    file.tensors["output_norm.weight"] = replace(file.tensors["output_norm.weight"], **change)
    with pytest.raises(ConfigError, match=r"output_norm\.weight is damaged or not known"):
        file.dequantized("output_norm.weight", slice(None))


def test_its_tokenizer_gives_the_same_ids(tmp_path):
    write_gguf(tmp_path / "m.gguf", "qwen3")
    base = facts_of(str(tmp_path / "m.gguf"))
    assert (base.kind, base.vocab_size) == ("gguf", VOCAB_SIZE)
    tokenizer = tokenizer_of(base)
    assert tokenizer.foreign.pattern == "llama3" and tokenizer.foreign.ignores_merges
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert (tokenizer.begin_id, tokenizer.end_id, tokenizer.special["<tool>"]) == (
        0,
        0,
        table("llama3")["model"]["vocab"]["<tool>"],
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rope.scaling.type": "yarn"}, "llama.rope.scaling.type='yarn' isn't understood"),
        ({"attention.sliding_window": 8}, "llama.attention.sliding_window=8 isn't understood"),
        ({"expert_count": 4}, "llama.expert_count=4 isn't understood"),
        ({"rope.dimension_count": 4}, "llama.rope.dimension_count=4, where 8 is understood"),
        ({"rope_freqs.weight": 1}, "rope_freqs.weight stretches its positions"),
        ({"split.count": 2}, "one of several files"),
        ({"blk.1.ffn_up.weight": None}, "missing: blk.1.ffn_up.weight"),
        (
            {"blk.1.ffn_up.weight": np.ones((63, 32))},
            r"blk.1.ffn_up.weight is \(63, 32\) and the keys make it \(64, 32\)",
        ),
        ({"output_norm.weight": np.full(32, np.nan)}, "output_norm.weight holds values that are not finite"),
        ({"pre": "default"}, "pattern 'default'; those understood"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path, changes, words):
    write_gguf(tmp_path / "m.gguf", "llama", **changes)
    with pytest.raises(ConfigError, match=words):
        values = GgufValues(GgufFile(facts_of(str(tmp_path / "m.gguf")).weights))
        for name, shape in shapes(settings_of("llama")).items():
            values.value(name, shape)


@pytest.mark.parametrize("key", ["token_type", "merges"])
def test_a_tokenizer_without_a_key_names_it(tmp_path, key):
    write_gguf(tmp_path / "m.gguf", "llama", left_out=[key])
    with pytest.raises(ConfigError, match=f"tokenizer.ggml.{key} is missing"):
        tokenizer_of(facts_of(str(tmp_path / "m.gguf")))


def test_other_architectures_and_files_are_refused(tmp_path):
    gguf.GGUFWriter(path := tmp_path / "m.gguf", "gemma3").close()
    path.write_bytes(b"GGUF no")
    with pytest.raises(ConfigError, match="is no whole GGUF file"):
        facts_of(str(path))
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ConfigError, match="architecture 'gemma3' can't be imported; those that can are llama, qwen2"):
        facts_of(str(path))
