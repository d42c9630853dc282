"""A Hugging Face `config.json` as a shape: the families that people pre-train, with no library loaded. No torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headwater.errors import ConfigError
from headwater.plan.shape import Experts, GroupedAttention, LatentAttention, Layer, Mlp, Shape

Config = Mapping[str, Any]

MAX_FILE_BYTES = 10_000_000
MAX_SIZE = 1 << 40  # of any number in a shape
LAYERS, MAX_LAYERS = ("num_hidden_layers", "n_layer"), 10_000  # each is an object of its own here
DECIDING = (*LAYERS, "decoder_sparse_step", "first_k_dense_replace")
"Sizes on which it hangs which others are read."
_SHOWN_CHARACTERS = 100


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
    trial = _Trial(config)
    while True:
        try:
            _reader(config)(trial)
        except _Missing as needed:
            trial.missing.append(needed.name)
        else:
            return trial.missing


def _reader(config: Config) -> Callable[[Config], Shape]:
    family = config.get("model_type")
    build = FAMILIES.get(family) if isinstance(family, str) else None
    if build is None:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigError(f"model_type {_shown(family)} is none of those that can be counted: {known}")
    return build


class _Missing(Exception):
    """A size that the family needs and the configuration lacks."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Trial(dict[str, Any]):
    """A configuration in which every size is 1, also one that is missing, but for those that say what else is read."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config, self.missing = config, list[str]()

    def get(self, key: str, default: Any = None) -> Any:
        value = 1 if key in self.missing else self._config.get(key, default)
        is_size = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIZE
        return _One(value) if is_size and key not in DECIDING else value

    def __getitem__(self, key: str) -> Any:
        return self.get(key)


class _One(int):
    """1, shown as the number that it stands for: where that is wrong, the message is of what the user wrote."""

    def __new__(cls, given: int) -> _One:
        one = super().__new__(cls, 1)
        one._given = given
        return one

    _given: int

    def __repr__(self) -> str:
        return repr(self._given)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _size(config: Config, *names: str, default: int | None = None) -> int:
    """Return the first of `names` that is set, a whole number of at least 1."""
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={_shown(value)} must be a whole number of at least 1")
        limit = MAX_LAYERS if name in LAYERS else MAX_SIZE
        if value > limit:
            raise ConfigError(
                f"{name}={_shown(value)} is more than any model has; {limit:,} is the most that is counted"
            )
        return value
    if default is None:
        raise _Missing(names[0])
    return default


def _count(config: Config, name: str) -> int:
    """Return a number that may be 0, which also stands for what is missing."""
    return 0 if config.get(name) in (None, 0) else _size(config, name)


def _indices(config: Config, name: str) -> set[int]:
    """Return a list of whole numbers as a set, empty where it is missing."""
    value = config.get(name)
    if value is None:
        return set()
    if not isinstance(value, list) or any(isinstance(each, bool) or not isinstance(each, int) for each in value):
        raise ConfigError(f"{name}={_shown(value)} must be a list of whole numbers, such as [0, 1]")
    return set(value)


def _flag(config: Config, name: str, default: bool) -> bool:
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{name}={_shown(value)} must be true or false")
    return default if value is None else value


def _grouped(config: Config, *, biases: str, norms: str) -> GroupedAttention:
    """Return grouped-query attention; `biases` is none, qkv or qkvo, `norms` none, head (shared by heads) or width."""
    num_heads = _size(config, "num_attention_heads")
    num_kv_heads = _size(config, "num_key_value_heads", default=num_heads)
    d_model = _size(config, "hidden_size")
    if num_heads % num_kv_heads:
        raise ConfigError(f"num_attention_heads={num_heads} must be a multiple of num_key_value_heads={num_kv_heads}")
    if config.get("head_dim") is None and d_model % num_heads:
        raise ConfigError(
            f"hidden_size={d_model} must be a multiple of num_attention_heads={num_heads}, or set head_dim"
        )
    head_dim = _size(config, "head_dim", default=max(1, d_model // num_heads))
    query, key = num_heads * head_dim, num_kv_heads * head_dim
    values = {"none": 0, "qkv": query + 2 * key, "qkvo": query + 2 * key + d_model}[biases]
    values += {"none": 0, "head": 2 * head_dim, "width": query + key}[norms]
    return GroupedAttention(num_heads, num_kv_heads, head_dim, values)


def _windows(config: Config, num_layers: int) -> list[int | None]:
    """Return each layer's window: `layer_types` where given, else the pattern, else `sliding_window` for all.

    Some families write 0 for no window (Qwen2-MoE).
    """
    window = _count(config, "sliding_window")
    if not window or config.get("use_sliding_window") is False:
        return [None] * num_layers
    types = config.get("layer_types")
    if isinstance(types, list) and len(types) == num_layers:
        return [window if kind == "sliding_attention" else None for kind in types]
    pattern = _count(config, "sliding_window_pattern") or PATTERNS.get(config["model_type"], 0)
    if pattern:  # every pattern-th layer sees everything
        return [None if (index + 1) % pattern == 0 else window for index in range(num_layers)]
    return [window] * num_layers


PATTERNS = {"gemma2": 2, "gemma3_text": 6, "olmo3": 4}
"Every how many layers one is without a window, where the configuration doesn't say."


def _rotary(config: Config, attention: Any, mlps: list[Mlp | Experts], *, norms: int = 2, tied: bool = False) -> Shape:
    """Return a model with rotary positions and `norms` RMSNorms in each layer."""
    d_model = _size(config, "hidden_size")
    windows = _windows(config, len(mlps))
    layers = [Layer(attention, mlp, norms * d_model, window) for mlp, window in zip(mlps, windows, strict=True)]
    return Shape(
        vocab_size=_size(config, "vocab_size"),
        d_model=d_model,
        seq_len=_size(config, "max_position_embeddings", default=2048),
        layers=tuple(layers),
        is_tied=_flag(config, "tie_word_embeddings", tied),
        num_end_values=d_model if norms else 0,
    )


def _dense(
    *, biases: str = "none", norms: str = "none", per_layer: int = 2, tied: bool = False
) -> Callable[[Config], Shape]:
    """Return a reader of models with gated MLPs; `biases` "setting" asks `attention_bias`."""

    def build(config: Config) -> Shape:
        kind = ("qkvo" if _flag(config, "attention_bias", False) else "none") if biases == "setting" else biases
        d_model, d_ff = _size(config, "hidden_size"), _size(config, "intermediate_size")
        mlp = Mlp(d_ff, 3, 2 * d_ff + d_model if _flag(config, "mlp_bias", False) else 0)
        mlps: list[Mlp | Experts] = [mlp] * _size(config, "num_hidden_layers")
        return _rotary(config, _grouped(config, biases=kind, norms=norms), mlps, norms=per_layer, tied=tied)

    return build


def _require_choice(num_active: int, num_experts: int) -> None:
    if num_active > num_experts:
        raise ConfigError(f"num_experts_per_tok={num_active} is more than the {num_experts} experts there are")


def _sparse(*, biases: str = "none", norms: str = "none") -> Callable[[Config], Shape]:
    """Return a reader of mixtures of experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE."""

    def build(config: Config) -> Shape:
        num_experts = _size(config, "num_local_experts", "num_experts")
        num_active = _size(config, "num_experts_per_tok")
        _require_choice(num_active, num_experts)
        shared = _count(config, "shared_expert_intermediate_size")
        expert_d_ff = _size(config, "moe_intermediate_size", "intermediate_size")
        experts = Experts(num_experts, num_active, expert_d_ff, shared, has_shared_gate=shared > 0)
        dense_layers = _indices(config, "mlp_only_layers")
        step = _size(config, "decoder_sparse_step", default=1)
        mlps: list[Mlp | Experts] = [
            Mlp(_size(config, "intermediate_size")) if index in dense_layers or (index + 1) % step else experts
            for index in range(_size(config, "num_hidden_layers"))
        ]
        kind = ("qkvo" if _flag(config, "attention_bias", False) else "none") if biases == "setting" else biases
        return _rotary(config, _grouped(config, biases=kind, norms=norms), mlps)

    return build


def _deepseek(config: Config) -> Shape:
    """DeepSeek-V2 and V3 (arXiv:2405.04434, 2412.19437), without the layers that predict further tokens."""
    attention = LatentAttention(
        num_heads=_size(config, "num_attention_heads"),
        query_rank=_count(config, "q_lora_rank") or None,
        kv_rank=_size(config, "kv_lora_rank"),
        nope_dim=_size(config, "qk_nope_head_dim"),
        rope_dim=_size(config, "qk_rope_head_dim"),
        value_dim=_size(config, "v_head_dim"),
    )
    dense = Mlp(_size(config, "intermediate_size"))
    num_layers, num_dense = _size(config, "num_hidden_layers"), _count(config, "first_k_dense_replace")
    if not _count(config, "n_routed_experts"):
        return _rotary(config, attention, [dense] * num_layers)
    width, num_experts = _size(config, "moe_intermediate_size"), _size(config, "n_routed_experts")
    num_active = _size(config, "num_experts_per_tok")
    _require_choice(num_active, num_experts)
    experts = Experts(num_experts, num_active, width, width * _count(config, "n_shared_experts"))
    return _rotary(config, attention, [dense if index < num_dense else experts for index in range(num_layers)])


def _layer_normed(config: Config, names: tuple[str, str, str, str], *, positions: str | None, tied: bool) -> Shape:
    """GPT-2 and GPT-NeoX: LayerNorm and biases everywhere; `names` of width, layers, heads and MLP width."""
    d_model, num_layers, num_heads = (_size(config, name) for name in names[:3])
    if d_model % num_heads:
        raise ConfigError(f"{names[0]}={d_model} must be a multiple of {names[2]}={num_heads}")
    d_ff = _size(config, names[3], default=4 * d_model)
    bias = 4 * d_model if _flag(config, "attention_bias", True) else 0
    attention = GroupedAttention(num_heads, num_heads, d_model // num_heads, bias)
    layer = Layer(attention, Mlp(d_ff, 2, d_ff + d_model), 4 * d_model)
    seq_len = _size(config, "n_positions", "max_position_embeddings", default=1024)
    return Shape(
        vocab_size=_size(config, "vocab_size"),
        d_model=d_model,
        seq_len=seq_len,
        layers=(layer,) * num_layers,
        is_tied=_flag(config, "tie_word_embeddings", tied),
        num_positions=seq_len if positions else 0,
        num_end_values=2 * d_model,
    )


def _gpt2(config: Config) -> Shape:
    return _layer_normed(config, ("n_embd", "n_layer", "n_head", "n_inner"), positions="learned", tied=True)


def _gpt_neox(config: Config) -> Shape:
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    return _layer_normed(config, names, positions=None, tied=False)


FAMILIES: dict[str, Callable[[Config], Shape]] = {
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "gemma": _dense(tied=True),
    "gemma2": _dense(per_layer=4, tied=True),
    "gemma3_text": _dense(norms="head", per_layer=4, tied=True),
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "llama": _dense(biases="setting"),
    "mistral": _dense(),
    "mixtral": _sparse(),
    "olmo": _dense(per_layer=0),
    "olmo2": _dense(biases="setting", norms="width"),
    "olmo3": _dense(biases="setting", norms="width"),
    "olmoe": _sparse(norms="width"),
    "phi3": _dense(),
    "qwen2": _dense(biases="qkv"),
    "qwen2_moe": _sparse(biases="qkv"),
    "qwen3": _dense(biases="setting", norms="head"),
    "qwen3_moe": _sparse(biases="setting", norms="head"),
    "smollm3": _dense(tied=True),
}
"Readers by `model_type`."
