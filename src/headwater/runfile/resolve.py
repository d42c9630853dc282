"""Settings resolved: what is given, then rules in their order, checked in one place and frozen; and who set what, why.

No rule changes a table: each is asked with all that is set so far and returns what it makes of settings that nobody
gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from headwater.core.config import describe
from headwater.runfile.checking import S, require_sound, validate
from headwater.runfile.given import Decided, Given, leaves

Rules = Callable[[Given], Decided]
RECIPES = Path(str(resources.files("headwater.runfile") / "recipes"))


@dataclass(frozen=True)
class Reason:
    """Where one setting's value comes from: `origin` is user, recipe, rule or default."""

    setting: str
    value: Any
    origin: str
    where: str
    why: str
    measured: str = ""


def resolve(
    kind: type[S],
    given: Given,
    rules: Sequence[Rules] = (),
    by_rule: Collection[str] = (),
    measured: Mapping[str, str] | None = None,
) -> tuple[S, list[Reason]]:
    """Return settings of a kind, with what `rules` make of those that are given, and a reason for each.

    Each of the rules is asked with what is given and what those before it made. `by_rule` are all settings that one of
    them makes; `measured` says of some when they were measured. Raises ConfigError with every problem of what is given
    before a rule computes with it, and with those of the whole.
    """
    require_sound(kind, given, by_rule)
    decided: Decided = {}
    for each in rules:
        decided |= each(given.with_decided(decided))
    whole = given.with_decided(decided)
    settings = validate(kind, whole, by_rule)
    table = Given(settings.model_dump(mode="json"))

    def reason(setting: str) -> Reason:
        value, where = table.get(setting), whole.origins.get(setting)
        if setting in decided:
            why = decided[setting][1]
            return Reason(setting, value, "rule", "headwater.runfile.rules", why, (measured or {}).get(setting, ""))
        if where is None:
            return Reason(setting, value, "default", "", describe(kind, setting))
        if where.startswith(str(RECIPES)):
            return Reason(setting, value, "recipe", Path(where).stem, f"the recipe {Path(where).stem} sets it")
        return Reason(setting, value, "user", where, f"set in {where}")

    return settings, [reason(setting) for setting in leaves(dict(table.table))]
