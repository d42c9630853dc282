"""A Hugging Face folder: the model as transformers, vLLM, TRL and converters to GGUF read it, without custom code.

It loads in transformers 4.57 and 5. The configuration is written here and not by transformers, because what version 5
writes is misread by 4.57: it takes rope_theta = 10000 without a word and refuses the tokenizer's class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from headwater.core import files
from headwater.core.errors import ExportError
from headwater.core.records import table
from headwater.export.data_card import markdown
from headwater.export.hf_card import CardFacts, write_card
from headwater.export.hf_tokenizer import write_tokenizer
from headwater.export.hf_weights import write_weights
from headwater.model.settings import ModelSettings

LLAMA3_KEYS = {"low_freq_factor", "high_freq_factor"}
YARN_KEYS = {"beta_fast", "beta_slow", "attention_factor", "truncate"}
FORMAT, FORMAT_VERSION = "headwater-export-hf", 1
MAX_FILE_BYTES = 5 * 10**9  # of weights; more are written as several numbered files
Dtype = Literal["float32", "bfloat16"]
ARCHITECTURES = {
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "mistral": "MistralForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}


def export_hf(
    state: Mapping[str, Tensor],
    model: ModelSettings,
    tokenizer_dir: Path,
    out_dir: Path,
    *,
    dtype: Dtype = "float32",
    card: CardFacts | None = None,
    data_card: Mapping[str, Any] | None = None,
    key: str = "",
    weights_key: str = "",
    before_commit: Callable[[], None] = files.no_check,
    max_file_bytes: int = MAX_FILE_BYTES,
    is_tuned: bool = False,
) -> None:
    """Write the model as a folder that AutoModelForCausalLM and AutoTokenizer load offline.

    `state` has every parameter by its name in our model, each looked up once, when it is written, into files of at most
    `max_file_bytes`; `card` is what the model card says of it (hf_card); the `data_card` (runs.text) is written as
    DATA_CARD.md and data_card.json; `key` says what the export was made from (manifests.is_current), `weights_key` what
    its weights were: an earlier export's of the same key are kept; `is_tuned`: on conversations. The folder appears
    complete or not at all, and replaces an earlier export only; `before_commit` may still raise when all is written.
    Raises ExportError when a parameter is missing or left over, when the tokenizer is not the model's, or when
    something else is at `out_dir`.
    """
    require_ours(out_dir, FORMAT)
    with files.new_folder(out_dir, replace=True, before_commit=before_commit) as folder:
        tokenizer = write_tokenizer(tokenizer_dir, folder, model.num_positions, model.vocab_size, is_tuned)
        files.write_json(folder / "config.json", {**hf_config(model, dtype), **tokenizer.ids})
        known = _shared_weights(out_dir, folder, weights_key)
        known = known or write_weights(folder, state, model, getattr(torch, dtype), max_file_bytes)
        ends = {"eos_token_id": tokenizer.ends} if tokenizer.ends != [tokenizer.ids.get("eos_token_id")] else {}
        files.write_json(folder / "generation_config.json", tokenizer.ids | ends)
        if data_card is not None:
            files.write_json(folder / "data_card.json", data_card)
            files.write_text(folder / "DATA_CARD.md", markdown(data_card))
        digests = {path.name: known.get(path.name) or files.digest_file(path) for path in sorted(folder.iterdir())}
        keys = {"key": key, "weights_key": weights_key}
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **keys, "files": digests}
        if is_tuned or not tokenizer.is_of_base:  # a base's own template says what it was made for
            manifest["is_tuned"] = is_tuned
        files.write_json(folder / "manifest.json", manifest)
        # no digest: a card is there to be edited
        write_card(folder, model, card or CardFacts(), tokenizer.card, is_tuned)


def _shared_weights(out_dir: Path, folder: Path, weights_key: str) -> dict[str, str]:
    """Give an export the files of an earlier one's weights, if they are these; return each one's digest, else {}."""
    manifest = files.read_manifest_or_none(out_dir)
    if not weights_key or manifest.get("weights_key") != weights_key:
        return {}
    digests = {name: digest for name, digest in table(manifest, "files").items() if ".safetensors" in name}
    found = [path for path in out_dir.glob("*.safetensors*") if path.is_file()]  # by what is there: a manifest may lie
    if {path.name: files.digest_file(path) for path in found} != digests:
        return {}
    for path in found:
        files.share_file(path, folder / path.name)
    return digests


def require_ours(out_dir: Path, format: str) -> None:
    """Raise ExportError where something is at `out_dir` that is no earlier export of this format."""
    if not out_dir.exists() or files.read_manifest_or_none(out_dir).get("format") == format:
        return
    if not out_dir.is_dir() or any(out_dir.iterdir()):
        raise ExportError(f"{out_dir} exists and is no export of headwater; move it away or choose another folder")


def hf_config(model: ModelSettings, dtype: Dtype) -> dict[str, Any]:
    """Return config.json but for the ids of the special tokens, with the keys of both major versions."""
    shape = _gpt2_config(model) if model.family == "gpt2" else _rotary_config(model)
    return {
        "architectures": [ARCHITECTURES[model_type(model)]],
        "model_type": model_type(model),
        "vocab_size": model.vocab_size,
        "tie_word_embeddings": model.tied_embeddings,
        "use_cache": True,
        "torch_dtype": dtype,  # 4.57
        "dtype": dtype,  # 5
        **shape,
    }


def model_type(model: ModelSettings) -> str:
    """Return their family for this model: a llama with biases is their qwen2, one with a window their mistral."""
    if model.family == "llama" and model.attention_bias:
        return "qwen2"
    return "mistral" if model.family == "llama" and model.sliding_window else model.family


def _rotary_config(model: ModelSettings) -> dict[str, Any]:
    rope, scaling = {"rope_type": "default"}, model.rope_scaling
    if scaling is not None:
        unused = LLAMA3_KEYS if scaling.rope_type == "yarn" else YARN_KEYS
        rope = scaling.model_dump(exclude_none=True, exclude=unused)
    shared = {
        "hidden_size": model.d_model,
        "intermediate_size": model.d_ff,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": _max_positions(model),
        "rms_norm_eps": model.norm_eps,
        "rope_theta": model.rope_theta,  # 4.57
        "rope_parameters": {**rope, "rope_theta": model.rope_theta},  # 5
        "attention_bias": model.attention_bias,
        "attention_dropout": 0.0,
    }
    if scaling is not None:
        shared["rope_scaling"] = rope  # 4.57
    if model_type(model) == "llama":
        return {**shared, "mlp_bias": False, "pretraining_tp": 1}
    if model_type(model) == "mistral":
        return {**shared, "sliding_window": model.sliding_window}
    has_window = model.sliding_window is not None
    return {
        **shared,
        "use_sliding_window": has_window,
        "sliding_window": model.sliding_window,
        "max_window_layers": 0 if has_window else model.num_layers,  # the first ones see everything
    }


def _max_positions(model: ModelSettings) -> int:
    """Return the length that the model is meant for; with yarn 4.57 takes its ratio to the original one for the factor.

    The settings see to it that this is a whole number.
    """
    scaling = model.rope_scaling
    if scaling is None or scaling.rope_type != "yarn":
        return model.num_positions
    return round(scaling.factor * scaling.original_max_position_embeddings)


def _gpt2_config(model: ModelSettings) -> dict[str, Any]:
    return {
        "n_embd": model.d_model,
        "n_inner": model.d_ff,
        "n_layer": model.num_layers,
        "n_head": model.num_heads,
        "n_positions": model.num_positions,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": model.norm_eps,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }
