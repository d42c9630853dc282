"""Folders of Hugging Face as transformers itself writes them, of small random models, for tests of the import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from their_tokenizers import VOCAB_SIZE, files_of

COMMON = {"vocab_size": VOCAB_SIZE, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
SIZES = {**COMMON, **HEADS}
GPT2 = {"vocab_size": VOCAB_SIZE, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
WINDOW = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**SIZES, "rope_parameters": {"rope_type": "default", "rope_theta": 3e4}}),
    "llama-tied": ("LlamaConfig", {**SIZES, "tie_word_embeddings": True, "rms_norm_eps": 3e-3}),
    "llama-head-dim": ("LlamaConfig", {**SIZES, "head_dim": 16}),
    "llama-llama3": (
        "LlamaConfig",
        {**SIZES, "rope_parameters": {**LLAMA3, "low_freq_factor": 1.0, "high_freq_factor": 4.0}},
    ),
    "llama-yarn": ("LlamaConfig", {**SIZES, "rope_parameters": YARN}),
    "llama-yarn-factors": (
        "LlamaConfig",
        {**SIZES, "rope_parameters": {**YARN, "beta_fast": 8.0, "beta_slow": 0.5, "attention_factor": 1.3}},
    ),
    "mistral": ("MistralConfig", {**SIZES, "sliding_window": None}),
    "mistral-window": ("MistralConfig", {**SIZES, "sliding_window": 6, "head_dim": 16}),
    "qwen2": ("Qwen2Config", SIZES),
    "qwen2-window-tied": ("Qwen2Config", {**SIZES, **WINDOW, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {**SIZES, "head_dim": 16}),
    "qwen3-tied": ("Qwen3Config", {**SIZES, "head_dim": 8, "tie_word_embeddings": True, "rms_norm_eps": 2e-3}),
    "qwen3-yarn-window": ("Qwen3Config", {**SIZES, **WINDOW, "head_dim": 16, "rope_parameters": YARN}),
    "gpt2": ("GPT2Config", {**GPT2, "layer_norm_epsilon": 2e-3}),
    "gpt2-inner-untied": ("GPT2Config", {**GPT2, "n_inner": 40, "tie_word_embeddings": False}),
}


def their_model(name: str, **changes: Any) -> Any:
    """Return the model, in float32, with biases that aren't zero and norms that aren't one: a lost one shows."""
    import transformers

    kind, settings = CONFIGS[name]
    config = getattr(transformers, kind)(**(settings | changes), attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            mean = 1.0 if "norm" in parameter_name or ".ln_" in parameter_name else 0.0
            parameter.normal_(mean if parameter_name.endswith("weight") else 0.0, 0.3, generator=generator)
    return model


def write_base(
    name: str, folder: Path, files: Mapping[str, bytes] | None = None, longest: int = 64, **options: Any
) -> torch.Tensor:
    """Write the folder of a model for texts of up to `longest` tokens, its tokenizer's files too; return its logits."""
    positions = "n_positions" if name.startswith("gpt2") else "max_position_embeddings"
    model = their_model(name, **{positions: longest, "bos_token_id": 0, "eos_token_id": 0})
    model.save_pretrained(folder, **options)
    for file, content in (files or files_of("gpt2")).items():
        (folder / file).write_bytes(content)
    return their_logits(model)


def token_ids() -> torch.Tensor:
    return torch.randint(0, VOCAB_SIZE, (2, 48), generator=torch.Generator().manual_seed(1))


def their_logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=token_ids()).logits.float()
