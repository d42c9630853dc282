"""GGUF files as llama.cpp's converter writes them, by its package, of small random models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from their_tokenizers import SPECIAL, VOCAB_SIZE, table

from headwater.model.names import shapes
from headwater.model.settings import ModelSettings

ROTARY = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "max_positions": 64, "norm_eps": 1e-5}
GGUF_MODELS = {
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
    return ModelSettings(
        vocab_size=VOCAB_SIZE, num_layers=2, d_model=32, d_ff=64, seq_len=64, **GGUF_MODELS[architecture]
    )


def write_gguf(
    path: Path, architecture: str, quantised: Any = None, left_out: Sequence[str] = (), **changes: Any
) -> dict[str, torch.Tensor]:
    """Write a model as llama.cpp's converter does, and return its weights by our names.

    `changes` are keys, or tensors where they end in .weight.
    """
    import gguf

    model, generator = settings_of(architecture), torch.Generator().manual_seed(0)
    weights = {name: torch.empty(shape).normal_(generator=generator) for name, shape in shapes(model).items()}
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
