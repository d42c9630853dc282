"""Settings of one of headwater's own families, as a run of its would complete them. No torch."""

from __future__ import annotations

from headwater.config import RawSettings, apply_override
from headwater.errors import ConfigError
from headwater.model.settings import ModelSettings
from headwater.optim.rules import RULES, apply_rules_
from headwater.validation import missing_settings, require_sound, validate

BY_RULE = {name.removeprefix("model.") for name in RULES}


def own_family(family: str, overrides: list[str]) -> ModelSettings:
    """Return the settings given, such as `num_layers=32`, heads that fill the width, and the rest by rules.

    Raises ConfigError for an unknown setting, a missing one that no rule makes, or a shape that can't be.
    """
    raw = RawSettings({"model": {}}, {})
    for override in overrides:
        apply_override(raw, f"model.{override.removeprefix('model.')}")
    heads, d_model = raw.get("model.num_heads"), raw.get("model.d_model")
    usual = {"family": family, "seq_len": 1024}
    if isinstance(heads, int) and isinstance(d_model, int) and heads > 0:
        usual["head_dim"] = d_model // heads
    for name, value in usual.items():
        if not raw.has(f"model.{name}"):
            raw.set_(f"model.{name}", value, "usual shape")
    require_sound(ModelSettings, _model_of(raw), BY_RULE)
    if missing := missing_settings(ModelSettings, _model_of(raw), BY_RULE):
        raise ConfigError(f"family {family} needs {', '.join(missing)}; give each with --set NAME=NUMBER")
    apply_rules_(raw)
    return validate(ModelSettings, _model_of(raw), BY_RULE)


def _model_of(raw: RawSettings) -> RawSettings:
    """Return the settings of the table `model` by their own names."""
    origins = {name.removeprefix("model."): origin for name, origin in raw.origins.items()}
    return RawSettings(dict(raw.table["model"]), origins)
