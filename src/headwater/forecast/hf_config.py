"""A Hugging Face `config.json` as a shape: the families that people pre-train, with no library loaded. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.errors import ConfigError
from headwater.forecast.hf_values import Config, Missing, Trial, count, flag, given, indices, shown, size
from headwater.forecast.hf_windows import windows
from headwater.forecast.shape import Experts, GroupedAttention, LatentAttention, Layer, Mlp, Shape

MAX_FILE_BYTES = 10_000_000


def read_hf_config(path: Path) -> Shape:
    """Return the shape of the model in a folder with a `config.json`, or of that file.

    Raises ConfigError when there is none, when it isn't JSON, when its family is unknown or a size is missing.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(_read_text(file))
    except FileNotFoundError:
        raise ConfigError(f"no {file}; name a folder that holds the config.json of a Hugging Face model") from None
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of UTF-8, of JSON, of a number
        raise ConfigError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(
            f"{file} holds no JSON object but {type(config).__name__}; it should be a model's config.json"
        )
    try:
        return shape_of_config(config)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _read_text(file: Path) -> str:
    with open(file, "rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes, and a config.json some thousand")
    return data.decode()


def shape_of_config(config: Config) -> Shape:
    """Return the shape that a configuration describes; of a model with pictures, its text part."""
    inner = config.get("text_config")
    if isinstance(inner, dict) and "model_type" in inner:
        config = {"tie_word_embeddings": config.get("tie_word_embeddings"), **inner}
    if missing := missing_sizes(config):
        raise ConfigError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} needed and missing")
    return _reader(config)(config)


def missing_sizes(config: Config) -> list[str]:
    """Return every size that the family needs and the configuration lacks; raise ConfigError for a value that is none.

    The configuration is read with all sizes at 1, which fit each other whatever is missing.
    """
    trial = Trial(config)
    while True:
        try:
            _reader(config)(trial)
        except Missing as needed:
            trial.missing.append(needed.name)
        else:
            return trial.missing


def _reader(config: Config) -> Callable[[Config], Shape]:
    family = config.get("model_type")
    build = FAMILIES.get(family) if isinstance(family, str) else None
    if build is None:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigError(f"model_type {shown(family)} is none of those that can be counted: {known}")
    return build


def _grouped(config: Config, *, biases: str, norms: str) -> GroupedAttention:
    """Return grouped-query attention; `biases` is none, qkv or qkvo, `norms` none, head (shared by heads) or width."""
    num_heads = size(config, "num_attention_heads")
    num_kv_heads = size(config, "num_key_value_heads", default=num_heads)
    d_model = size(config, "hidden_size")
    if num_heads % num_kv_heads:
        usual = "" if "num_key_value_heads" in config else f", which {config['model_type']} has where none is set"
        raise ConfigError(
            f"num_attention_heads={num_heads} must be a multiple of num_key_value_heads={num_kv_heads}{usual}"
        )
    if given(config, "head_dim") is None and d_model % num_heads:
        raise ConfigError(
            f"hidden_size={d_model} must be a multiple of num_attention_heads={num_heads}, or set head_dim"
        )
    head_dim = size(config, "head_dim", default=max(1, d_model // num_heads))
    query, key = num_heads * head_dim, num_kv_heads * head_dim
    values = {"none": 0, "qkv": query + 2 * key, "qkvo": query + 2 * key + d_model}[biases]
    values += {"none": 0, "head": 2 * head_dim, "width": query + key}[norms]
    return GroupedAttention(num_heads, num_kv_heads, head_dim, values)


def _rotary(config: Config, attention: Any, mlps: list[Mlp | Experts], *, norms: int = 2, tied: bool = False) -> Shape:
    """Return a model with rotary positions and `norms` RMSNorms in each layer."""
    d_model = size(config, "hidden_size")
    seen = windows(config, len(mlps))
    layers = [Layer(attention, mlp, norms * d_model, window) for mlp, window in zip(mlps, seen, strict=True)]
    return Shape(
        vocab_size=size(config, "vocab_size"),
        d_model=d_model,
        seq_len=size(config, "max_position_embeddings", default=2048),
        layers=tuple(layers),
        is_tied=flag(config, "tie_word_embeddings", tied),
        num_end_values=d_model if norms else 0,
    )


def _biases(config: Config, kind: str) -> str:
    """Return which projections of attention have biases, where `kind` is "setting" as `attention_bias` says."""
    if kind != "setting":
        return kind
    return "qkvo" if flag(config, "attention_bias", False) else "none"


def _dense(
    *,
    biases: str = "setting",
    has_mlp_bias: bool = False,
    norms: str = "none",
    per_layer: int = 2,
    tied: bool = False,
) -> Callable[[Config], Shape]:
    """Return a reader of models with gated MLPs, which have biases where `has_mlp_bias` and `mlp_bias` says so."""

    def build(config: Config) -> Shape:
        d_ff = size(config, "intermediate_size")
        mlp = Mlp(d_ff, 3, _mlp_biases(config, d_ff) if has_mlp_bias else 0)
        mlps: list[Mlp | Experts] = [mlp] * size(config, "num_hidden_layers")
        attention = _grouped(config, biases=_biases(config, biases), norms=norms)
        return _rotary(config, attention, mlps, norms=per_layer, tied=tied)

    return build


def _mlp_biases(config: Config, d_ff: int) -> int:
    return 2 * d_ff + size(config, "hidden_size") if flag(config, "mlp_bias", False) else 0


def _require_choice(num_active: int, num_experts: int) -> None:
    if num_active > num_experts:
        raise ConfigError(f"num_experts_per_tok={num_active} is more than the {num_experts} experts there are")


def _sparse(
    *, biases: str = "setting", norms: str = "none", widths: tuple[str, ...] = ("moe_intermediate_size",)
) -> Callable[[Config], Shape]:
    """Return a reader of mixtures of experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE; `widths` name an expert's width."""

    def build(config: Config) -> Shape:
        num_experts = size(config, "num_local_experts", "num_experts")
        num_active = size(config, "num_experts_per_tok")
        _require_choice(num_active, num_experts)
        shared = count(config, "shared_expert_intermediate_size")
        experts = Experts(num_experts, num_active, size(config, *widths), shared, has_shared_gate=shared > 0)
        dense_layers = indices(config, "mlp_only_layers")
        step = size(config, "decoder_sparse_step", default=1)
        mlps: list[Mlp | Experts] = [
            Mlp(size(config, "intermediate_size")) if index in dense_layers or (index + 1) % step else experts
            for index in range(size(config, "num_hidden_layers"))
        ]
        return _rotary(config, _grouped(config, biases=_biases(config, biases), norms=norms), mlps)

    return build


EITHER = ("moe_intermediate_size", "intermediate_size")
"An expert's width in our words, then as families without dense layers call it."


def _qwen2_moe(config: Config) -> Shape:
    return _sparse(biases="qkv" if flag(config, "qkv_bias", True) else "none")(config)


def _deepseek(*, has_mlp_bias: bool) -> Callable[[Config], Shape]:
    """Return a reader of DeepSeek-V2 and V3 (arXiv:2405.04434, 2412.19437), without the layers that reach further."""

    def build(config: Config) -> Shape:
        attention = _latent(config)
        d_ff, width = size(config, "intermediate_size"), size(config, "moe_intermediate_size")
        num_experts, num_active = size(config, "n_routed_experts"), size(config, "num_experts_per_tok")
        _require_choice(num_active, num_experts)
        shared = width * count(config, "n_shared_experts")
        dense = Mlp(d_ff, 3, _mlp_biases(config, d_ff) if has_mlp_bias else 0)
        values = _mlp_biases(config, shared) if has_mlp_bias and shared else 0
        experts = Experts(num_experts, num_active, width, shared, num_values=values)
        num_layers, num_dense = size(config, "num_hidden_layers"), count(config, "first_k_dense_replace")
        return _rotary(config, attention, [dense if index < num_dense else experts for index in range(num_layers)])

    return build


def _latent(config: Config) -> LatentAttention:
    query_rank = count(config, "q_lora_rank")
    attention = LatentAttention(
        num_heads=size(config, "num_attention_heads"),
        query_rank=query_rank or None,
        kv_rank=size(config, "kv_lora_rank"),
        nope_dim=size(config, "qk_nope_head_dim"),
        rope_dim=size(config, "qk_rope_head_dim"),
        value_dim=size(config, "v_head_dim"),
    )
    if not flag(config, "attention_bias", False):
        return attention
    biases = query_rank + attention.kv_rank + attention.rope_dim + size(config, "hidden_size")
    return replace(attention, num_biases=biases)


def _layer_normed(config: Config, names: tuple[str, str, str, str], *, positions: str | None, tied: bool) -> Shape:
    """GPT-2 and GPT-NeoX: LayerNorm and biases everywhere; `names` of width, layers, heads and MLP width."""
    d_model, num_layers, num_heads = (size(config, name) for name in names[:3])
    if d_model % num_heads:
        raise ConfigError(f"{names[0]}={d_model} must be a multiple of {names[2]}={num_heads}")
    d_ff = size(config, names[3], default=4 * d_model if positions else None)
    bias = 4 * d_model if flag(config, "attention_bias", True) else 0
    attention = GroupedAttention(num_heads, num_heads, d_model // num_heads, bias)
    layer = Layer(attention, Mlp(d_ff, 2, d_ff + d_model), 4 * d_model)
    seq_len = size(config, "n_positions", "max_position_embeddings", default=1024)
    return Shape(
        vocab_size=size(config, "vocab_size"),
        d_model=d_model,
        seq_len=seq_len,
        layers=(layer,) * num_layers,
        is_tied=flag(config, "tie_word_embeddings", tied),
        num_positions=seq_len if positions else 0,
        num_end_values=2 * d_model,
    )


def _gpt2(config: Config) -> Shape:
    return _layer_normed(config, ("n_embd", "n_layer", "n_head", "n_inner"), positions="learned", tied=True)


def _gpt_neox(config: Config) -> Shape:
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    return _layer_normed(config, names, positions=None, tied=False)


FAMILIES: dict[str, Callable[[Config], Shape]] = {
    "deepseek_v2": _deepseek(has_mlp_bias=True),
    "deepseek_v3": _deepseek(has_mlp_bias=False),
    "gemma": _dense(tied=True),
    "gemma2": _dense(per_layer=4, tied=True),
    "gemma3_text": _dense(norms="head", per_layer=4, tied=True),
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _dense(has_mlp_bias=True),
    "mistral": _dense(biases="none"),
    "mixtral": _sparse(biases="none", widths=EITHER),
    "olmo": _dense(per_layer=0),
    "olmo2": _dense(norms="width"),
    "olmo3": _dense(norms="width"),
    "olmoe": _sparse(norms="width", widths=EITHER),
    "phi3": _dense(biases="none"),
    "qwen2": _dense(biases="qkv"),
    "qwen2_moe": _qwen2_moe,
    "qwen3": _dense(norms="head"),
    "qwen3_moe": _sparse(norms="head"),
    "smollm3": _dense(has_mlp_bias=True, tied=True),
}
"Readers by `model_type`."
