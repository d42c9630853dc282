"""A family's name and settings, in headwater's words or Hugging Face's, as a shape. No torch."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from headwater.config import RawSettings, apply_override, validate
from headwater.errors import ConfigError
from headwater.model.settings import Family, ModelSettings
from headwater.optim.rules import apply_rules_
from headwater.plan.hf_config import FAMILIES, shape_of_config
from headwater.plan.shape import Shape, shape_of

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
GPT2_NAMES = {
    "n_embd": "d_model",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_inner": "d_ff",
    "n_positions": "seq_len",
}
OWN_NAMES = {hf: own for own, hf in HF_NAMES.items() if own in ModelSettings.model_fields} | GPT2_NAMES


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
    config = _Asked({"model_type": family, **{HF_NAMES.get(name, name): value for name, value in raw.table.items()}})
    shape = shape_of_config(config)
    unknown = sorted(set(config) - config.asked)
    if unknown:
        near = difflib.get_close_matches(unknown[0], config.asked, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"family {family} has no setting {unknown[0]!r}{hint}")
    return shape


class _Asked(dict[str, Any]):
    """A configuration that remembers which of its keys were asked for, so that a misspelt one is not passed over."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
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
    apply_rules_(ruled)
    model = RawSettings({}, {})
    for name, value in ruled.table["model"].items():
        model.set_(name, value, ruled.origins.get(f"model.{name}", "a rule"))
    return validate(ModelSettings, model)
