"""Parameters of any causal language model that transformers can build, counted on torch's meta device.

Nothing is allocated, no weights are read and no code of a model's folder is run. Needs the extra `hf`.
"""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError
from headwater.model.count import ModelCount
from headwater.model.names import SETTINGS

MAX_FILE_BYTES = 10_000_000
MAX_LAYERS = 1_000  # each is a module of its own here
LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
NAMES = {ours: names[:2] for ours, names in SETTINGS.items()} | {
    "seq_len": SETTINGS["num_positions"][:2],
    "num_experts": EXPERTS,
    "expert_d_ff": ("moe_intermediate_size", "intermediate_size"),
    "num_active_experts": ("num_experts_per_tok", "num_experts_per_token", "moe_k"),
}
"What Hugging Face's families call our settings."


def count_hf_file(path: Path) -> ModelCount:
    """Return the count of the model in a folder with a `config.json`, or of that file; with pictures, its text part.

    Raises ConfigError when there is none, when it isn't JSON, or when transformers can't build what it describes.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        with open(file, "rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"{file} has more than {MAX_FILE_BYTES:,} bytes, and a config.json some thousand")
        config = json.loads(data.decode())
    except FileNotFoundError:
        raise ConfigError(f"no {file}; name a folder that holds the config.json of a Hugging Face model") from None
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of UTF-8, of JSON, of a number
        raise ConfigError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{file} holds no JSON object; it should be a model's config.json")
    inner = config.get("text_config")
    if isinstance(inner, dict) and "model_type" in inner:
        config = {"tie_word_embeddings": config.get("tie_word_embeddings", True), **inner}
    settings = {name: value for name, value in config.items() if name not in ("model_type", "quantization_config")}
    try:
        return _count(config.get("model_type"), settings)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def count_hf_family(family: str, settings: Mapping[str, Any]) -> ModelCount:
    """Return the count of a family of transformers with these settings, by headwater's names or its own.

    What isn't given is as in the family's class. Raises ConfigError for an unknown family or setting.
    """
    usual = _config(family, {})
    renamed = {}
    for name, value in settings.items():
        there = next((theirs for theirs in (*NAMES.get(name, ()), name) if hasattr(usual, theirs)), None)
        if there is None:
            near = difflib.get_close_matches(name, [*NAMES, *usual.to_dict()], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"family {family} has no setting {name!r}{hint}")
        renamed[there] = value
    return _count(family, renamed)


def _count(family: Any, settings: dict[str, Any]) -> ModelCount:
    """Return the count of transformers' own model, built from these settings without memory."""
    layers = next((settings[name] for name in LAYERS if name in settings), 1)
    if not isinstance(layers, int) or not 1 <= layers <= MAX_LAYERS:
        raise ConfigError(f"{str(layers)[:40]} layers can't be counted: a whole number, of at most {MAX_LAYERS:,}")
    torch, transformers = _library("torch"), _library("transformers")
    config = _config(family, settings)
    try:
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
    except Exception as error:  # whatever a family's class raises on sizes that don't fit
        raise ConfigError(f"transformers can't build this {family}: {str(error)[:300]}") from None
    return _count_module(model, config)


def _config(family: Any, settings: dict[str, Any]) -> Any:
    known = _library("transformers").CONFIG_MAPPING
    if not isinstance(family, str) or family not in known:
        near = difflib.get_close_matches(str(family)[:40], list(known), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; its names are those of model_type in a config.json"
        raise ConfigError(f"transformers has no family {str(family)[:40]!r}{hint}")
    try:
        return known[family].from_dict(settings)
    except Exception as error:  # whatever a family's class raises on values of a wrong kind
        raise ConfigError(f"transformers can't read these settings of {family}: {str(error)[:300]}") from None


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f'counting models of Hugging Face needs {name}: pip install "headwater[hf]"') from None


def _count_module(model: Any, config: Any) -> ModelCount:
    """Return the count of a module: a matrix that isn't an embedding is one that tokens are multiplied by."""
    num_experts = next((number for name in EXPERTS if (number := getattr(config, name, None))), 1)
    chosen = next((number for name in NAMES["num_active_experts"] if (number := getattr(config, name, None))), 1)
    total = routed = embedding = matrices = routed_matrices = 0
    seen: set[int] = set()
    for path, module in model.named_modules():
        is_table = type(module).__name__.endswith("Embedding") and hasattr(module, "num_embeddings")
        for name, weight in module.named_parameters(recurse=False):
            is_routed = "experts" in path.split(".")
            is_matrix = weight.ndim >= 2 and not is_table and not name.endswith("bias")
            # a tied head is one weight, and tokens are multiplied by it all the same
            matrices += weight.numel() if is_matrix else 0
            routed_matrices += weight.numel() if is_matrix and is_routed else 0
            if id(weight) not in seen:
                seen.add(id(weight))
                total += weight.numel()
                routed += weight.numel() if is_routed else 0
                embedding += weight.numel() if is_table else 0
    idle = 1 - chosen / num_experts
    head = model.get_output_embeddings()
    return ModelCount(
        total=total,
        active=total - round(routed * idle),
        embedding=embedding,
        matmul=matrices - round(routed_matrices * idle),
        head=head.weight.numel() if head is not None else 0,
        seq_len=int(getattr(config, "max_position_embeddings", None) or 1024),
        attention=tuple(_attention(config)),
    )


def _attention(config: Any) -> Iterator[tuple[int, int | None]]:
    """Yield for each layer with attention its heads × (key + value width), and its window by `layer_types`.

    Raises ConfigError for a model without heads, whose FLOPs nothing here counts.
    """
    heads = getattr(config, "num_attention_heads", None)
    if not isinstance(heads, int) or not heads:
        raise ConfigError(f"{config.model_type} has no attention heads; only attention's FLOPs can be counted")
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    key, value = width, width
    if getattr(config, "kv_lora_rank", None):  # latent attention (arXiv:2405.04434)
        key, value = config.qk_nope_head_dim + config.qk_rope_head_dim, config.v_head_dim
    window = getattr(config, "sliding_window", None) or None
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    for kind in getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers:
        if "linear" not in kind and kind not in ("mamba", "conv", "recurrent"):
            yield heads * (key + value), window if kind in ("sliding_attention", "local_attention") else None
