"""The model that a family and its settings make, for `plan count`."""

from __future__ import annotations

from headwater.core.config import Settings
from headwater.core.errors import ConfigError
from headwater.model.settings import ModelSettings
from headwater.runfile.checking import missing_settings
from headwater.runfile.given import Decided, Given
from headwater.runfile.resolve import resolve
from headwater.runfile.rules import RULES, by_rules


class _ModelAlone(Settings):
    """The table `model` of a run file, by itself."""

    model: ModelSettings


def own_family(family: str, overrides: list[str]) -> ModelSettings:
    """Return the settings given, such as `num_layers=32`, heads that fill the width, and the rest by rules.

    Raises ConfigError for an unknown setting, a missing one that no rule makes, or a shape that can't be.
    """
    given = Given({"model": {"family": family, "seq_len": 1024}})
    for override in overrides:
        given = given.with_override(f"model.{override.removeprefix('model.')}")
    heads, d_model = given.get("model.num_heads"), given.get("model.d_model")
    if isinstance(heads, int) and isinstance(d_model, int) and heads > 0 and not given.has("model.head_dim"):
        given = given.with_value("model.head_dim", d_model // heads, "heads that fill the width")

    def of_model(given: Given) -> Decided:
        if missing := missing_settings(_ModelAlone, given, RULES):
            names = ", ".join(name.removeprefix("model.") for name in missing)
            raise ConfigError(f"family {family} needs {names}; give each with --set NAME=NUMBER")
        return {name: found for name, found in by_rules(given).items() if name.startswith("model.")}

    return resolve(_ModelAlone, given, [of_model], RULES)[0].model
