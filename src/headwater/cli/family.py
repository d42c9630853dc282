"""The model that a family and its settings make, for `plan count`."""

from __future__ import annotations

from headwater.core.config import RawSettings, Settings, apply_override
from headwater.core.errors import ConfigError
from headwater.core.validation import missing_settings, require_sound, validate
from headwater.model.settings import ModelSettings
from headwater.runfile.rules import RULES, apply_rules_


class _ModelAlone(Settings):
    """The table `model` of a run file, by itself."""

    model: ModelSettings


def own_family(family: str, overrides: list[str]) -> ModelSettings:
    """Return the settings given, such as `num_layers=32`, heads that fill the width, and the rest by rules.

    Raises ConfigError for an unknown setting, a missing one that no rule makes, or a shape that can't be.
    """
    raw = RawSettings({"model": {"family": family, "seq_len": 1024}}, {})
    for override in overrides:
        apply_override(raw, f"model.{override.removeprefix('model.')}")
    heads, d_model = raw.get("model.num_heads"), raw.get("model.d_model")
    if isinstance(heads, int) and isinstance(d_model, int) and heads > 0 and not raw.has("model.head_dim"):
        raw.set_("model.head_dim", d_model // heads, "heads that fill the width")
    require_sound(_ModelAlone, raw, RULES)
    if missing := missing_settings(_ModelAlone, raw, RULES):
        names = ", ".join(name.removeprefix("model.") for name in missing)
        raise ConfigError(f"family {family} needs {names}; give each with --set NAME=NUMBER")
    apply_rules_(raw)
    return validate(_ModelAlone, RawSettings({"model": raw.get("model")}, raw.origins), RULES).model
