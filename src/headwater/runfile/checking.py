"""Settings checked against their declaration, every problem in one message, and resolved: who set what, and why.

A misspelt name or a wrong value leaves rules without their inputs, and what they would have set is missing then. So
values are checked before rules compute with them, and of what is missing only that is said which nothing else explains.

No rule changes a table: each is asked with all that is set so far and returns what it makes of settings that nobody
gives. What is given and what rules made is checked in one place and frozen.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from headwater.core.config import (
    Settings,
    as_meant,
    describe,
    field_at,
    fields_of,
    is_bracketed,
    is_settings,
    setting_names,
    shown,
    table_at,
    table_of,
    takes_strings,
)
from headwater.core.errors import ConfigError
from headwater.runfile.given import Decided, Given, leaves

_SHOWN_NAMES = 8
_SHOWN_PROBLEMS = 50
_WANTED = {
    "greater_than": "give a number above {gt:g}",
    "greater_than_equal": "give {ge:g} or more",
    "less_than": "give a number below {lt:g}",
    "less_than_equal": "give {le:g} or less",
    "int_type": "give a whole number",
    "int_parsing": "give a whole number",
    "int_from_float": "give a whole number",
    "float_type": "give a number",
    "float_parsing": "give a number",
    "finite_number": "give a finite number",
    "bool_type": "give true or false",
    "bool_parsing": "give true or false",
    "string_type": "give text, in quotes",
    "literal_error": "give {expected}",
    "list_type": "give a list",
    "dict_type": "give a table, such as {{name = value}}",
}
"What to do about each kind of pydantic's problems, by what it says of them."

S = TypeVar("S", bound=Settings)


def require_sound(kind: type[Settings], given: Given, by_rule: Collection[str]) -> None:
    """Raise ConfigError for unknown names and wrong values; what is missing alone is no error yet.

    Called before rules compute with the values. `by_rule` are the settings that a rule makes where nobody sets them.
    """
    try:
        kind.model_validate(as_meant(kind, given.table))
    except ValidationError as error:
        found = error.errors()
        if any(detail["type"] != "missing" for detail in found):
            raise ConfigError(_report(kind, given, found, by_rule)) from None


def validate(kind: type[S], given: Given, by_rule: Collection[str] = ()) -> S:
    """Return the settings, or raise one ConfigError that lists every problem with where it was set.

    TOML has no null: the word "off" stands for None wherever a setting admits it. A lone string where a list of strings
    is wanted is a list of one. A setting `by_rule` that is missing follows from what its rule needs, and isn't said.
    """
    try:
        return kind.model_validate(as_meant(kind, given.table))
    except ValidationError as error:
        raise ConfigError(_report(kind, given, error.errors(), by_rule)) from None


def missing_settings(kind: type[Settings], given: Given, by_rule: Collection[str]) -> list[str]:
    """Return the settings that are needed, that nothing sets and no rule makes."""
    try:
        kind.model_validate(as_meant(kind, given.table))
    except ValidationError as error:
        return _missing(kind, error.errors(), by_rule)
    return []


def _report(kind: type[Settings], given: Given, found: list[Any], by_rule: Collection[str]) -> str:
    """Return all problems in words: unknown names, wrong values, and in one line what is missing besides."""
    details = [detail for detail in found if detail["type"] != "missing"]
    details.sort(key=lambda detail: detail["type"] != "extra_forbidden")
    problems = [_problem(kind, given, detail) for detail in details]
    meant = [place for detail in details if detail["type"] == "extra_forbidden" for place in _meant(kind, detail)]
    missing = _missing(kind, found, by_rule) or ([] if details else _missing(kind, found, ()))
    missing = [name for name in missing if not any(_is_part(name, place) for place in meant)]
    if missing:
        words = "is needed and nothing sets it" if len(missing) == 1 else "are needed and nothing sets them"
        problems.append(f"  {', '.join(missing)}: {words}")
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    more = [f"  and {len(problems) - _SHOWN_PROBLEMS} more"] if len(problems) > _SHOWN_PROBLEMS else []
    return f"the settings have {count}:\n" + "\n".join(problems[:_SHOWN_PROBLEMS] + more)


def _missing(kind: type[Settings], found: list[Any], by_rule: Collection[str]) -> list[str]:
    """Return what is missing by its full name, a table by what is needed in it, without what rules make."""
    places = [[str(part) for part in detail["loc"]] for detail in found if detail["type"] == "missing"]
    return [name for place in places for name in _needed(kind, place) if name not in by_rule]


def _needed(kind: type[Settings], place: list[str]) -> Iterator[str]:
    table = table_of(_annotation_at(kind, place))
    fields = fields_of(table) if is_settings(table) else {}
    needed = [name for name, field in fields.items() if field.is_required()]
    if not needed:
        yield ".".join(place)
    for name in needed:
        yield from _needed(kind, [*place, name])


def _meant(kind: type[Settings], detail: Any) -> list[str]:
    """Return the places that an unknown name may have been meant for: its own in another table, or near names."""
    *parents, name = (str(part) for part in detail["loc"])
    tables = [[], *([table] for table in setting_names(kind, []))]
    elsewhere = [table for table in tables if table != parents and name in setting_names(kind, table)]
    names = setting_names(kind, parents)
    near = difflib.get_close_matches(name, names, n=2) or [each for each in names if name in each.split("_")]
    found = [[*table, name] for table in elsewhere] or [[*parents, each] for each in near]
    return [".".join(place) for place in found[:2]]


def _short_of(place: str, parents: list[str]) -> str:
    """Return a place as it is said beside `parents`: the name alone in the same table, all of it in another."""
    return place.removeprefix(".".join([*parents, ""])) if parents else place


def _problem(kind: type[Settings], given: Given, detail: Any) -> str:
    location = [str(part) for part in detail["loc"]]
    path = ".".join(location)
    value = detail.get("input")
    shown_value = "" if isinstance(value, dict) else f" = {shown(value)}"
    hint = ""
    if detail["type"] == "extra_forbidden":
        # what stands under a name that is none of ours may be a key or a password
        message, shown_value = "unknown setting", shown_value if isinstance(value, int | float) else ""
        near = [_short_of(place, location[:-1]) for place in _meant(kind, detail)]
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
    elif detail["type"] == "list_type" and isinstance(value, str | int | float):
        text = _list_of(value, takes_strings(_annotation_at(kind, location)))
        message, hint = "a list is wanted", f"; write {path} = {text}, in a shell '{path}={text}'"
    elif detail["type"] == "model_type":
        message, hint = "a table of settings is wanted", _hint_of_table(kind, location)
    elif detail["type"] in _WANTED:
        message = _WANTED[detail["type"]].format(**detail.get("ctx", {}))
    else:
        message = detail["msg"].removeprefix("Value error, ")
    where = _where_set(given, path or _leading_name(message))
    place = f"\n      set in {where}" if where else ""
    return f"  {path}{shown_value}: {message}{hint}{place}" if path else f"  {message}{hint}{place}"


def _leading_name(message: str) -> str:
    """Return the setting that a problem of several tables, which has no place of its own, begins with."""
    found = re.match(r"[\w.]+", message)
    return found[0] if found else ""


def _where_set(given: Given, path: str) -> str | None:
    """Return where a setting was set: as a whole, or in parts, or as a part of what was set."""
    return next(
        (origin for name, origin in given.origins.items() if _is_part(name, path) or _is_part(path, name)), None
    )


def _hint_of_table(kind: type[Settings], location: list[str]) -> str:
    """Return what stands in the table at a place, and that it may be empty where nothing in it is needed."""
    table = table_at(kind, location)
    fields = fields_of(table) if is_settings(table) else {}
    names = list(fields)[:_SHOWN_NAMES] + ["…"] * (len(fields) > _SHOWN_NAMES)
    needed = [name for name in fields if fields[name].is_required()]
    how = f"{', '.join(needed)} needed" if needed else f"{'.'.join(location)} = {{}} takes all by rule"
    return f"; in it are {', '.join(names)}; {how}"


def _annotation_at(kind: type[Settings], path: list[str]) -> Any:
    field = field_at(kind, path)
    return None if field is None else field.annotation


def _is_part(path: str, whole: str) -> bool:
    return path == whole or path.startswith(whole + ".")


def _list_of(value: str | int | float, of_strings: bool) -> str:
    """Return a list in TOML of what was given where a list is wanted."""
    text = str(value)
    if is_bracketed(text):
        return json.dumps([part.strip(" \"'") for part in text[1:-1].split(",")], ensure_ascii=False)
    return json.dumps([text if of_strings else value], ensure_ascii=False)


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
