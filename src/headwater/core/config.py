"""Settings: one declaration, TOML files that extend each other, overrides merged before validation.

Overrides are merged into the raw tables before anything is validated, so that choosing `optim.name` brings that
choice's own defaults. Every value remembers where it was set. What is wrong with them: `validation`.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from headwater.core.errors import ConfigError

Table = dict[str, Any]

MAX_FILE_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_VALUES = 5000
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


class RawSettings:
    """Tables read from files and overrides, not validated yet, with the place where each value was set."""

    def __init__(self, table: Table, origins: dict[str, str]) -> None:
        self.table = table
        self.origins = origins

    def get(self, path: str, default: Any = None) -> Any:
        value: Any = self.table
        for part in path.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return value

    def has(self, path: str) -> bool:
        missing = object()
        return self.get(path, missing) is not missing

    def set_(self, path: str | Sequence[str], value: Any, origin: str) -> None:
        """Set the value at a path with dots, or at one whose parts may have dots themselves."""
        *parents, last = path.split(".") if isinstance(path, str) else path
        path = ".".join([*parents, last])
        table = self.table
        for part in parents:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{path} can't be set ({origin}): {part} is a value, not a table")
        table[last] = value
        # a table replaces what was set beneath it
        for old in [old for old in self.origins if old == path or old.startswith(path + ".")]:
            del self.origins[old]
        for leaf in leaves(value, path):
            self.origins[leaf] = origin


class Override(NamedTuple):
    """A setting that a program gives as a value, by its path."""

    path: tuple[str, ...]
    value: Any


def read_settings(path: Path, overrides: Sequence[str | Override], find: Callable[[str], Path | None]) -> RawSettings:
    """Read a TOML file and what it extends, then apply `a.b=value` overrides.

    `find` turns the name in `extends` into a file (named recipes); a relative path is tried first, beside the file.
    Raises ConfigError for a missing file, broken TOML, a circle of `extends` or a malformed override.
    """
    raw = RawSettings({}, {})
    for file, label in reversed(_chain(path, find)):
        for name, value in _parse(file).items():
            if name != "extends":
                _merge(raw, name, value, label)
    for override in overrides:
        apply_override(raw, override)
    return raw


def apply_override(raw: RawSettings, override: str | Override) -> None:
    if isinstance(override, Override):
        return _apply_value(raw, override)
    name, equals, text = override.partition("=")
    if name.count(".") >= MAX_DEPTH:
        raise ConfigError(f"override {override[:_SHOWN_CHARACTERS]!r} names no setting: it has {name.count('.')} dots")
    if not equals or not name.strip():
        raise ConfigError(f"override {override!r} has no '='; write it as section.setting=value")
    raw.set_(name.strip(), _parse_value(text.strip()), f"command line ({override})")


def _apply_value(raw: RawSettings, override: Override) -> None:
    name = ".".join(override.path)
    try:
        _require_plain({name: override.value})
    except ValueError as error:
        raise ConfigError(f"{name[:_SHOWN_CHARACTERS]}: {error}") from None
    raw.set_(override.path, override.value, f"call ({name}={shown(override.value)})")


def _chain(path: Path, find: Callable[[str], Path | None]) -> list[tuple[Path, str]]:
    chain: list[tuple[Path, str]] = []
    while True:
        # resolved: ../folder/run.toml may be run.toml itself
        if any(path.resolve() == seen.resolve() for seen, _ in chain):
            raise ConfigError(f"{path} extends itself, by way of {' -> '.join(str(seen) for seen, _ in chain)}")
        chain.append((path, str(path)))
        parent = _parse(path).get("extends")
        if parent is None:
            return chain
        beside = path.parent / str(parent)
        found = beside if is_file(beside) else find(str(parent))
        if found is None:
            raise ConfigError(f"{path} extends {shown(parent)}, which is neither a file beside it nor a recipe")
        path = found


def is_file(path: Path) -> bool:
    """Return whether there is a file, also where the name is longer than a file system allows."""
    try:
        return path.is_file()
    except OSError:
        return False


def _parse(path: Path) -> Table:
    try:
        table = tomllib.loads(_read_text(path))
        _require_plain(table)
        return table
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; name the run file in it (NAME.toml)") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: brackets are nested too deeply") from None
    except ValueError as error:  # of TOML, of UTF-8, of a number
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _read_text(path: Path) -> str:
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes, and a run file has some thousand")
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


def _require_plain(table: Table) -> None:
    """Raise ValueError for tables nested deeper, more values, or numbers larger, than any settings have."""
    waiting: list[tuple[Any, int]] = [(table, 0)]
    num_values = 0
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"tables and lists are nested more than {MAX_DEPTH} deep")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError("a whole number has more than 64 bits")
        num_values += 1
        if num_values > MAX_VALUES:
            raise ValueError(f"there are more than {MAX_VALUES} values")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(each, depth + 1) for each in inner]


def _parse_value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
        _require_plain(table)
    except (ValueError, RecursionError):
        return text  # a bare word is a string: model.family=llama needs no quotes
    return table["value"] if list(table) == ["value"] else text


def _merge(raw: RawSettings, path: str, value: Any, origin: str) -> None:
    if isinstance(value, dict) and isinstance(raw.get(path), dict):
        for name, inner in value.items():
            _merge(raw, f"{path}.{name}", inner, origin)
    else:
        raw.set_(path, value, origin)


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


def leaves(value: Any, path: str = "") -> list[str]:
    """Return the paths of all values in a table, itself at `path`, that are no tables or empty ones."""
    if isinstance(value, dict) and value:
        return [leaf for name, inner in value.items() for leaf in leaves(inner, f"{path}.{name}" if path else name)]
    return [path]


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


def shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = type(value).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
