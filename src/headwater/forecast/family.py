"""A family's name and settings, in headwater's words or Hugging Face's, as a shape. No torch."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from headwater.config import RawSettings, apply_override
from headwater.errors import ConfigError
from headwater.forecast.hf_config import FAMILIES, missing_sizes, shape_of_config
from headwater.forecast.shape import Shape, shape_of
from headwater.model.settings import Family, ModelSettings
from headwater.optim.rules import RULES, apply_rules_
from headwater.validation import missing_settings, require_sound, validate

OWN = set(get_args(Family))
HF_NAMES = {
    "num_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "seq_len": "max_position_embeddings",
    "tied_embeddings": "tie_word_embeddings",
    "norm_eps": "rms_norm_eps",
    "expert_d_ff": "moe_intermediate_size",
    "num_active_experts": "num_experts_per_tok",
}
"What Hugging Face calls our settings."
EXPERTS_NAMES = {"num_local_experts": "num_experts", "n_routed_experts": "num_experts"}
"Families differ in what they call the number of experts."
GPT2_NAMES = {
    "n_embd": "d_model",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_inner": "d_ff",
    "n_positions": "seq_len",
}
OWN_NAMES = {hf: own for own, hf in HF_NAMES.items() if own in ModelSettings.model_fields} | GPT2_NAMES
SAID_NAMES = {hf: own for own, hf in HF_NAMES.items()} | GPT2_NAMES | EXPERTS_NAMES
"What a message calls what Hugging Face calls otherwise."
BY_RULE = {name.removeprefix("model.") for name in RULES}


def shape_of_family(family: str, overrides: list[str]) -> Shape:
    """Return the shape of a family with settings such as `num_layers=32`; both vocabularies of names are understood.

    Raises ConfigError for an unknown family or setting, or a shape that can't be.
    """
    raw = RawSettings({}, {})
    for override in overrides:
        apply_override(raw, override.removeprefix("model."))
    if family in OWN:
        return shape_of(_own_settings(family, raw))
    if family not in FAMILIES:
        near = difflib.get_close_matches(family, [*OWN, *FAMILIES], n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ConfigError(f"no family {family!r}{hint} Known are {', '.join(sorted(OWN | set(FAMILIES)))}")
    return _hf_shape(family, raw)


def _hf_shape(family: str, raw: RawSettings) -> Shape:
    """Return the shape of a family that Hugging Face names; messages speak in headwater's words, as for our own."""
    table = {HF_NAMES.get(name, name): value for name, value in raw.table.items()}
    if family.startswith("deepseek") and "num_experts" in table:
        table["n_routed_experts"] = table.pop("num_experts")
    config = _ReadKeys({"model_type": family, **table})
    try:
        missing = missing_sizes(config)
        shape = None if missing else shape_of_config(config)
    except ConfigError as error:
        raise ConfigError(re.sub(r"[a-z]\w+", lambda word: SAID_NAMES.get(word[0], word[0]), str(error))) from None
    _require_known(family, config)
    if shape is None:
        raise ConfigError(_needs(family, [SAID_NAMES.get(name, name) for name in missing]))
    return shape


def _require_known(family: str, config: _ReadKeys) -> None:
    """Raise ConfigError for a setting that the family's reader didn't ask for."""
    unknown = sorted(set(config) - config.read)
    if unknown:
        known = sorted({SAID_NAMES.get(name, name) for name in config.read - {"model_type"}})
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"
        raise ConfigError(f"family {family} has no setting {unknown[0]!r}{hint}")


def _needs(family: str, names: list[str]) -> str:
    return f"family {family} needs {', '.join(names)}; give {'each' if len(names) > 1 else 'it'} with --set NAME=NUMBER"


class _ReadKeys(dict[str, Any]):
    """A configuration that remembers which of its keys were asked for, so that a misspelt one is not passed over."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)


def _own_settings(family: str, raw: RawSettings) -> ModelSettings:
    """Return a family's settings: those given, heads that fill the width, and the rest by the rules of a run."""
    ruled = RawSettings({"model": {}}, {})
    for name, value in raw.table.items():
        ruled.set_(f"model.{OWN_NAMES.get(name, name)}", value, raw.origins.get(name, "command line"))
    given: dict[str, Any] = dict(ruled.table["model"])
    heads, d_model = given.get("num_heads"), given.get("d_model")
    usual: dict[str, Any] = {"family": family, "seq_len": 1024}
    if isinstance(heads, int) and isinstance(d_model, int) and heads > 0:
        usual["head_dim"] = d_model // heads
    for name, value in usual.items():
        if name not in given:
            ruled.set_(f"model.{name}", value, "rule: usual shape")
    _require_sound(family, _model_of(ruled))
    apply_rules_(ruled)
    return validate(ModelSettings, _model_of(ruled), BY_RULE)


def _require_sound(family: str, model: RawSettings) -> None:
    """Raise ConfigError for what is unknown or wrong, or else for all that is missing and no rule makes."""
    require_sound(ModelSettings, model, BY_RULE)
    if missing := missing_settings(ModelSettings, model, BY_RULE):
        raise ConfigError(_needs(family, missing))


def _model_of(ruled: RawSettings) -> RawSettings:
    """Return the settings of the table `model` by their own names."""
    model = RawSettings({}, {})
    for name, value in ruled.table["model"].items():
        model.set_(name, value, ruled.origins.get(f"model.{name}", "a rule"))
    return model
