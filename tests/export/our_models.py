"""Models of every kind that is exported, and the two ways to export them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_models import random_model
from their_tokenizers import TEXT

from headwater.export.gguf import export_gguf
from headwater.export.hf import export_hf
from headwater.model.transformer import Transformer

VOCAB_SIZE, TOKENIZER_SIZE, SEQ_LEN = 320, 310, 64  # a model may have more rows than the tokenizer has tokens
TEXTS = [
    "The river starts at its headwater.",
    "",
    " 1 + 2 = 3\n\n\tif x: don't\r\n",
    "naïve Ω 中文 🙂\u200d🙂",
    TEXT,
    "say <|end_of_text|> and <|im_start|>",
]
ORIGINAL = {"original_max_position_embeddings": 32}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, **ORIGINAL}
YARN = {"rope_type": "yarn", "factor": 4.0, **ORIGINAL}
SLOW_YARN = {**YARN, "factor": 3.0, "beta_fast": 8.0, "beta_slow": 0.5, "attention_factor": 1.5}
ROTARY = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "rope_theta": 500_000.0}
QWEN3, LLAMA = {**ROTARY, "family": "qwen3"}, {**ROTARY, "family": "llama", "norm_eps": 1e-5}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3": QWEN3,
    "qwen3-untied": {**QWEN3, "num_kv_heads": 1, "head_dim": 8, "tied_embeddings": False},
    "qwen3-biases": {**QWEN3, "attention_bias": True},
    "qwen3-window": {**QWEN3, "num_heads": 2, "head_dim": 8, "sliding_window": 5},
    "qwen3-yarn": {**QWEN3, "rope_scaling": YARN},
    "llama": LLAMA,
    "llama-untied": {**LLAMA, "num_heads": 2, "head_dim": 8, "tied_embeddings": False},
    "llama3": {**LLAMA, "rope_scaling": LLAMA3},
    "llama-yarn": {**LLAMA, "rope_scaling": {**YARN, "attention_factor": 1.5}},
    "llama-slow-yarn": {**LLAMA, "rope_scaling": SLOW_YARN},
    "qwen2": {**LLAMA, "attention_bias": True, "tied_embeddings": False},
    "qwen2-square": {**LLAMA, "attention_bias": True, "head_dim": 8},
    "qwen2-window": {**LLAMA, "attention_bias": True, "sliding_window": 7},
    "mistral": {**LLAMA, "sliding_window": 6},
    "gpt2": {"family": "gpt2", "num_heads": 4, "num_kv_heads": 4, "head_dim": 8},
    "gpt2-untied": {"family": "gpt2", "num_heads": 2, "num_kv_heads": 2, "head_dim": 16, "tied_embeddings": False},
}


def model_like(name: str, **more: Any) -> Transformer:
    return random_model(
        **{"vocab_size": VOCAB_SIZE, "seq_len": SEQ_LEN, "max_positions": SEQ_LEN} | SHAPES[name] | more
    )


def hf(model: Transformer, tokenizer_dir: Path, out_dir: Path, **more: Any) -> Path:
    """Export a model, or its `state`, as a folder of Hugging Face, and return it."""
    export_hf(more.pop("state", model.state_dict()), model.settings, tokenizer_dir, out_dir, **more)
    return out_dir


def gguf(model: Transformer, tokenizer_dir: Path, out_dir: Path, **more: Any) -> Path:
    """Export a model, or its `state`, as a GGUF file, and return its path."""
    state, more = more.pop("state", model.state_dict()), {"type": "f32", "name": "made-up"} | more
    export_gguf(state, model.settings, tokenizer_dir, out_dir, **more)
    return out_dir / f"made-up-{more['type']}.gguf"
