"""A `config.json` of Hugging Face, written from our settings and read as them: exactly, or not at all.

One error names every key that isn't understood.

What a family's class in transformers takes for a key that isn't there is taken here, too. A key that changes what the
model computes is accepted with the values that our model computes the same for, and refused with all others; one that
changes nothing is on the list of harmless ones; any other is refused. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from headwater.core.errors import ConfigError
from headwater.core.manifests import is_count
from headwater.model.names import settings_names
from headwater.model.settings import Family, ModelSettings, RopeScaling


@dataclass(frozen=True)
class Accepted:
    """The values of a key that are understood, and those words for them."""

    includes: Callable[[Any], bool]
    words: str


def _one_of(*values: Any) -> Accepted:
    return Accepted(
        lambda found: any(type(found) is type(value) and found == value for value in values),
        " or ".join("null" if value is None else str(value).lower() for value in values),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


COUNT = Accepted(lambda value: is_count(value) and value > 0, "a whole number from 1 on")
COUNT_OR_NONE = Accepted(lambda value: value is None or (is_count(value) and value > 0), "a whole number or null")
NUMBER = Accepted(_is_number, "a number above 0")
FLAG = _one_of(False, True)
TABLE_OR_NONE = Accepted(lambda value: value is None or isinstance(value, dict), "a table or null")
LAYER_TYPES = Accepted(
    lambda value: (
        value is None
        or (
            (isinstance(value, list) and value[:1] in (["full_attention"], ["sliding_attention"]))
            and all(kind == value[0] for kind in value)
        )
    ),
    'the same for all layers, "full_attention" or "sliding_attention"',
)
ROPE_KEYS = {
    "default": set[str](),
    "llama3": {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"},
    "yarn": {
        *("factor", "original_max_position_embeddings", "beta_fast", "beta_slow"),
        *("attention_factor", "truncate"),
    },
}

Dtype = Literal["float32", "bfloat16"]
WRITTEN = {"hidden_act": "silu", "activation_function": "gelu_new"}
"What a key says of every model of ours."

# each kind's keys, in the order in which they are written
_ROTARY_KEYS = {
    "vocab_size": COUNT,
    "hidden_size": COUNT,
    "intermediate_size": COUNT,
    "num_hidden_layers": COUNT,
    "num_attention_heads": COUNT,
    "num_key_value_heads": COUNT_OR_NONE,
    "head_dim": COUNT_OR_NONE,
    "hidden_act": _one_of("silu"),
    "max_position_embeddings": COUNT,
    "rms_norm_eps": NUMBER,
    "rope_theta": NUMBER,
    "tie_word_embeddings": FLAG,
    "rope_scaling": TABLE_OR_NONE,
    "rope_parameters": TABLE_OR_NONE,
    "partial_rotary_factor": _one_of(1.0, 1, None),
    "rope_interleaved": _one_of(False),
}
_QWEN_KEYS = {
    **_ROTARY_KEYS,
    "use_sliding_window": FLAG,
    "sliding_window": COUNT_OR_NONE,
    "max_window_layers": Accepted(is_count, "a whole number"),
    "layer_types": LAYER_TYPES,
    "use_mrope": _one_of(False),
}
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True)
class Kind:
    """A `model_type`: the class that a folder must be for, its family here, and its keys."""

    architecture: str
    family: Family
    keys: Mapping[str, Accepted]
    required: tuple[str, ...]


KINDS = {
    "llama": Kind(
        "LlamaForCausalLM",
        "llama",
        {**_ROTARY_KEYS, "attention_bias": FLAG, "mlp_bias": _one_of(False)},
        (*_SIZES, "max_position_embeddings"),
    ),
    "mistral": Kind(
        "MistralForCausalLM",
        "llama",
        {**_ROTARY_KEYS, "sliding_window": COUNT_OR_NONE, "attention_bias": _one_of(False), "layer_types": LAYER_TYPES},
        (*_SIZES, "max_position_embeddings", "num_key_value_heads"),
    ),
    "qwen2": Kind(
        "Qwen2ForCausalLM",
        "llama",
        {**_QWEN_KEYS, "attention_bias": _one_of(True), "qkv_bias": _one_of(True)},
        (*_SIZES, "max_position_embeddings", "num_key_value_heads"),
    ),
    "qwen3": Kind(
        "Qwen3ForCausalLM",
        "qwen3",
        {**_QWEN_KEYS, "attention_bias": FLAG},
        (*_SIZES, "max_position_embeddings", "num_key_value_heads", "head_dim"),
    ),
    "gpt2": Kind(
        "GPT2LMHeadModel",
        "gpt2",
        {
            "vocab_size": COUNT,
            "n_embd": COUNT,
            "n_inner": COUNT_OR_NONE,
            "n_layer": COUNT,
            "n_head": COUNT,
            "n_positions": COUNT,
            "activation_function": _one_of("gelu_new"),
            "layer_norm_epsilon": NUMBER,
            "tie_word_embeddings": FLAG,
            "scale_attn_weights": _one_of(True),
            "scale_attn_by_inverse_layer_idx": _one_of(False),
        },
        ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions"),
    ),
}
EVERY_KIND = {
    "model_type": Accepted(lambda value: True, ""),
    "is_encoder_decoder": _one_of(False),
    "add_cross_attention": _one_of(False),
    "pruned_heads": _one_of({}),
}

# what only says how a model was made or is called, and what only other programs, generation or training read
_HARMLESS = """
    _attn_implementation _attn_implementation_autoset _name_or_path attention_dropout attn_implementation attn_pdrop
    bad_words_ids begin_suppress_tokens bos_token_id chunk_size_feed_forward cross_attention_hidden_size
    decoder_start_token_id diversity_penalty do_sample dtype early_stopping embd_pdrop encoder_no_repeat_ngram_size
    eos_token_id exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id
    gradient_checkpointing id2label initializer_range is_decoder is_llama_config label2id length_penalty max_length
    min_length n_ctx name_or_path no_repeat_ngram_size num_beam_groups num_beams num_labels num_return_sequences
    output_attentions output_hidden_states output_past output_scores pad_token_id prefix pretraining_tp problem_type
    remove_invalid_values reorder_and_upcast_attn repetition_penalty resid_pdrop return_dict return_dict_in_generate
    sep_token_id summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj
    suppress_tokens task_specific_params temperature tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p
    torch_dtype torchscript transformers.js_config transformers_version typical_p unsloth_fixed unsloth_version
    use_bfloat16 use_cache
"""
HARMLESS = frozenset(_HARMLESS.split())
REFUSED_KINDS = {
    "gemma": "its norms multiply by 1 + weight, its embedding is scaled and its MLP is a GeGLU",
    "gemma2": "it has norms behind the layers, capped logits and every other layer a window",
    "gemma3_text": "it has norms behind the layers and a second base of rotary positions",
    "gemma3": "it has norms behind the layers and a second base of rotary positions",
    "olmo": "its norms have no weights",
    "olmo2": "its norms are behind the layers and go over the whole width of queries and keys",
    "olmo3": "its norms are behind the layers and go over the whole width of queries and keys",
    "phi3": "its projections are fused",
    "smollm3": "some of its layers have no rotary positions",
    "gpt_neox": "it turns a part of each head's channels",
    "stablelm": "it turns a part of each head's channels",
}


def settings_of_config(config: Mapping[str, Any]) -> ModelSettings:
    """Return the settings of the model that a `config.json` describes, with rows as long as it is made for.

    Raises ConfigError that names every key and value that isn't understood, or the family, where it is none of ours.
    """
    model_type = config.get("model_type")
    kind = KINDS.get(model_type) if isinstance(model_type, str) else None
    if kind is None:
        why = REFUSED_KINDS.get(str(model_type), "headwater has no family that computes the same")
        known = ", ".join(KINDS)
        raise ConfigError(f"model_type={_short(model_type)} can't be imported: {why}; those that can are {known}")
    problems = _problems(config, kind)
    rope = None if kind.family == "gpt2" or problems else _rope(config, problems)
    if problems:
        raise ConfigError(f"this {model_type} can't be imported, or it would be another model: " + "; ".join(problems))
    try:
        return _settings(config, str(model_type), kind.family, rope or {})
    except ValidationError as error:
        found = "; ".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors())
        raise ConfigError(f"this {model_type} can't be imported: {found}") from None


def _problems(config: Mapping[str, Any], kind: Kind) -> list[str]:
    known = {**EVERY_KIND, **kind.keys}
    found = [f"{name} is missing" for name in kind.required if config.get(name) is None]
    for name, value in config.items():
        if name in HARMLESS:
            continue
        if name == "architectures":
            if value not in (None, [kind.architecture]):
                found.append(f"architectures={_short(value)}, where only {kind.architecture} is understood")
        elif name not in known:
            found.append(f"{name}={_short(value)} isn't understood")
        elif not known[name].includes(value):
            found.append(f"{name}={_short(value)}, where only {known[name].words} is understood")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _settings(config: Mapping[str, Any], model_type: str, family: Family, rope: dict[str, Any]) -> ModelSettings:
    names, is_gpt2 = settings_names("transformers", family), family == "gpt2"
    found = {ours: config[theirs] for ours, theirs in names.items() if config.get(theirs) is not None}
    width, heads, num_positions = found["d_model"], found["num_heads"], found.pop("num_positions")
    if "head_dim" not in found and width % heads:
        or_give = "" if is_gpt2 else "; or give head_dim"
        raise ConfigError(f"{names['d_model']}={width} must be a multiple of {names['num_heads']}={heads}{or_give}")
    usual = {"d_ff": 4 * width, "num_kv_heads": heads, "head_dim": width // heads, "tied_embeddings": is_gpt2}
    usual["norm_eps"] = 1e-5 if is_gpt2 else 1e-6
    return ModelSettings(
        **{**usual, **found, **rope},
        family=family,
        seq_len=num_positions,
        max_positions=num_positions,
        attention_bias=model_type == "qwen2" or config.get("attention_bias", False),
        sliding_window=_window(config, model_type),
    )


def _window(config: Mapping[str, Any], model_type: str) -> int | None:
    """Return the window of all layers, None for none; raise ConfigError where layers differ."""
    if model_type in ("llama", "gpt2"):
        return None
    size, layer_types = config.get("sliding_window", 4096), config.get("layer_types")
    num_layers = config["num_hidden_layers"]
    if layer_types is not None and len(layer_types) != num_layers:
        raise ConfigError(f"layer_types has {len(layer_types)} entries for num_hidden_layers={num_layers}")
    if model_type == "mistral":
        if layer_types is not None and (layer_types[0] == "sliding_attention") != (size is not None):
            raise ConfigError(f"layer_types say {layer_types[0]}, and sliding_window={size}")
        return size
    if not config.get("use_sliding_window", False):
        size = None
    first = config.get("max_window_layers", 28)
    if layer_types is not None:
        has_window = layer_types[0] == "sliding_attention"
        if has_window and size is None:
            raise ConfigError("layer_types say sliding_attention, and there is no window: see use_sliding_window")
        return size if has_window else None
    if size is None or first >= num_layers:
        return None
    if first > 0:
        raise ConfigError(
            f"max_window_layers={first}: the layers from there on have a window, the first ones none; only the same "
            "for all is understood"
        )
    return size


def _rope(config: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return rope_theta and rope_scaling, which lie in other places in versions 4 and 5; add to `problems`."""
    tables = [config[name] for name in ("rope_scaling", "rope_parameters") if config.get(name)]
    found: dict[str, Any] = {name: config[name] for name in ("rope_theta",) if config.get(name) is not None}
    for name, value in (entry for table in tables for entry in table.items()):
        name = "rope_type" if name == "type" else name
        if value is not None and found.setdefault(name, value) != value:
            problems.append(f"rope has two values of {name}: {found[name]!r} and {value!r}")
    kind, theta = found.pop("rope_type", "default"), found.pop("rope_theta", 10_000.0)
    if found.pop("partial_rotary_factor", 1) != 1:
        problems.append("rope's partial_rotary_factor, where only 1 is understood")
    if not isinstance(kind, str) or kind not in ROPE_KEYS:
        problems.append(f"rope_type={kind!r}, where only {', '.join(ROPE_KEYS)} are understood")
        return {}
    if not NUMBER.includes(theta):
        problems.append(f"rope_theta={theta!r}, where only {NUMBER.words} is understood")
    problems += [
        f"rope's {name}={_short(found[name])} isn't understood" for name in sorted(found.keys() - ROPE_KEYS[kind])
    ]
    if kind == "default" or problems:
        return {"rope_theta": theta}
    found.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
    missing = (ROPE_KEYS["llama3"] if kind == "llama3" else {"factor"}) - found.keys()
    if missing:
        problems.append(f"rope of type {kind} needs {', '.join(sorted(missing))}")
        return {}
    try:
        return {"rope_theta": theta, "rope_scaling": RopeScaling.model_validate({"rope_type": kind, **found})}
    except ValidationError as error:
        problems += [f"rope's {'.'.join(map(str, each['loc'])) or 'limits'}: {each['msg']}" for each in error.errors()]
        return {}


def config_of_settings(model: ModelSettings, dtype: Dtype) -> dict[str, Any]:
    """Return config.json but for the ids of the special tokens, with the keys of transformers 4.57 and 5."""
    theirs = model_type(model)
    values = {name: getattr(model, ours) for ours, name in settings_names("transformers", model.family).items()}
    head = {
        "architectures": [KINDS[theirs].architecture],
        "model_type": theirs,
        "vocab_size": model.vocab_size,
        "tie_word_embeddings": model.tied_embeddings,
        "use_cache": True,
        "torch_dtype": dtype,  # 4.57
        "dtype": dtype,  # 5
    }
    values |= WRITTEN | {"max_position_embeddings": _max_positions(model)}
    shape = {key: values[key] for key in KINDS[theirs].keys if key in values and key not in head}
    if model.family == "gpt2":
        return {**head, **shape, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    rope, scaling = {"rope_type": "default"}, model.rope_scaling
    if scaling is not None:
        rope = scaling.model_dump(exclude_none=True, include={"rope_type", *ROPE_KEYS[scaling.rope_type]})
    shape |= {
        "rope_parameters": {**rope, "rope_theta": model.rope_theta},  # 5; 4.57 has the two beside
        "attention_bias": model.attention_bias,
        "attention_dropout": 0.0,
        **({} if scaling is None else {"rope_scaling": rope}),
    }
    window = {"sliding_window": model.sliding_window}
    has_window = model.sliding_window is not None
    # the first max_window_layers see everything
    of_qwen = {"use_sliding_window": has_window, **window, "max_window_layers": 0 if has_window else model.num_layers}
    of_kind: dict[str, Any] = {"llama": {"mlp_bias": False, "pretraining_tp": 1}, "mistral": window}
    return {**head, **shape, **of_kind.get(theirs, of_qwen)}


def model_type(model: ModelSettings) -> str:
    """Return their family for this model: a llama with biases is their qwen2, one with a window their mistral."""
    if model.family == "llama" and model.attention_bias:
        return "qwen2"
    return "mistral" if model.family == "llama" and model.sliding_window else model.family


def _max_positions(model: ModelSettings) -> int:
    """Return the length that the model is meant for; with yarn 4.57 takes its ratio to the original one for the factor.

    The settings see to it that this is a whole number.
    """
    scaling = model.rope_scaling
    if scaling is None or scaling.rope_type != "yarn":
        return model.num_positions
    return round(scaling.factor * scaling.original_max_position_embeddings)
