"""Settings: one declaration for each table, what it says of itself, and tables as TOML.

How a run's are read, decided and checked: `headwater.runfile`.
"""

from __future__ import annotations

import json
import math
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

Table = dict[str, Any]

_SHOWN_CHARACTERS = 200


class Settings(BaseModel):
    """Base of every settings class: frozen, unknown keys forbidden, a string under a field is its description.

    Infinity and nan are refused: no setting means anything by them, and JSON can't hold them.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the description of a setting that a subclass only gives another default."""
        inherited = {name: field.description for base in cls.__mro__[:0:-1] for name, field in _fields(base).items()}
        bare = [name for name, field in cls.model_fields.items() if not field.description and inherited.get(name)]
        for name in bare:
            cls.model_fields[name].description = inherited[name]
        if bare:
            cls.model_rebuild(force=True)

    @field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic would take "12" for 12, while rules before it compute with what the file holds
        if isinstance(value, str | bool) and info.field_name and _is_number(cls.model_fields[info.field_name]):
            raise ValueError("a number is wanted" + (", without quotes" if _reads_as_number(value) else ""))
        return value


def _is_number(field: FieldInfo) -> bool:
    kinds = set(get_args(field.annotation)) or {field.annotation}
    return bool(kinds & {int, float}) and kinds <= {int, float, type(None)}


def _reads_as_number(value: str | bool) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except ValueError:
        return False


def _fields(kind: type) -> dict[str, Any]:
    return kind.model_fields if issubclass(kind, BaseModel) else {}


def to_toml(table: Table, path: str = "") -> str:
    """Return the table at `path`, or a whole run file, as TOML; None is off."""
    inner = {name: value for name, value in table.items() if isinstance(value, dict)}
    lines = [f"{name} = {_toml_value(value)}\n" for name, value in table.items() if name not in inner]
    head = [f"[{path}]\n"] if path and (lines or not inner) else []
    tables = (to_toml(value, f"{path}.{name}".lstrip(".")) for name, value in inner.items())
    return "\n".join(filter(None, ["".join(head + lines), *tables]))


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if value is None or isinstance(value, str):
        return quoted("off" if value is None else value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def quoted(text: str) -> str:
    """Return a TOML string: JSON's escapes are TOML's, but for DEL, which TOML doesn't allow as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def fields_of(kind: type[Settings]) -> dict[str, FieldInfo]:
    """Return the fields of a settings class by the names that a file has for them."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def setting_names(kind: type[Settings], parents: list[str]) -> list[str]:
    """Return the names of the settings in the table at `parents`, or [] where that is no fixed table."""
    table = table_at(kind, parents)
    return list(fields_of(table)) if is_settings(table) else []


def describe(kind: type[Settings], path: str) -> str:
    """Return the description of the setting at `path`, "" where it has none."""
    field = field_at(kind, path.split("."))
    return "" if field is None else field.description or ""


def field_at(kind: type[Settings], path: list[str]) -> FieldInfo | None:
    table = table_at(kind, path[:-1])
    return fields_of(table).get(path[-1]) if is_settings(table) else None


def table_at(kind: type[Settings], parents: list[str]) -> Any:
    current: Any = kind
    for part in parents:
        if is_settings(current):
            field = fields_of(current).get(part)
            current = None if field is None else table_of(field.annotation)
        else:  # a dict or list of settings: its keys are the user's names
            current = next((inner for inner in map(table_of, get_args(current)) if inner is not None), None)
    return current


def is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def table_of(annotation: Any) -> Any:
    """Return the settings class, or the dict or list of one, in an annotation such as `Table | None`; else None."""
    if is_settings(annotation):
        return annotation
    inner = next((found for found in map(table_of, get_args(annotation)) if found is not None), None)
    return annotation if inner is not None and get_origin(annotation) in (dict, list) else inner


def as_meant(kind: Any, value: Any) -> Any:
    """Return `value`, a table of settings `kind` or a part of one, with None for "off" and lists for lone strings."""
    if value == "off" and type(None) in get_args(kind):
        return None
    if isinstance(value, str) and value != "off" and takes_strings(kind) and not is_bracketed(value):
        return [value]
    if not isinstance(value, dict):
        return value
    table = table_of(kind)
    if is_settings(table):
        fields = fields_of(table)
        return {name: as_meant(fields[name].annotation if name in fields else None, v) for name, v in value.items()}
    inner = next((found for found in map(table_of, get_args(table)) if found is not None), None)
    return {name: as_meant(inner, v) for name, v in value.items()}


def takes_strings(annotation: Any) -> bool:
    """Return whether an annotation is a list of strings, or of words to choose from, or that or None."""
    if get_origin(annotation) is list:
        (inner,) = get_args(annotation)
        return inner is str or (get_origin(inner) is Literal and all(isinstance(word, str) for word in get_args(inner)))
    return get_origin(annotation) in (Union, UnionType) and any(map(takes_strings, get_args(annotation)))


def is_bracketed(text: str) -> bool:
    """Return whether a string was to be a list: [FOLDER], whose quotes are missing or were removed by a shell."""
    return text.startswith("[") and text.endswith("]")


def shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
