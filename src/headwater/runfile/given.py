"""Settings as they are given: TOML files that extend each other, then overrides; each with the place where it was set.

They are merged before anything is validated, so that choosing `optim.name` brings that choice's own defaults.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from headwater.core.code import find_code
from headwater.core.config import Table, shown
from headwater.core.errors import ConfigError

MAX_FILE_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_VALUES = 5000
_SHOWN_CHARACTERS = 200

Decided = dict[str, tuple[Any, str]]
"What rules make of settings: {setting: (value, why)}."


@dataclass(frozen=True)
class Given:
    """Tables of settings that aren't validated yet, and {setting: where it was set}. Nothing changes one."""

    table: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

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

    def with_value(self, path: str | Sequence[str], value: Any, origin: str) -> Given:
        """Return these with a value at a path with dots, or at one whose parts may have dots themselves.

        A table replaces what was set beneath it. Raises ConfigError where a part of the path is a value.
        """
        parts = path.split(".") if isinstance(path, str) else list(path)
        path = ".".join(parts)
        table = _with_value(self.table, parts, value, f"{path} can't be set ({origin})")
        kept = {name: where for name, where in self.origins.items() if not f"{name}.".startswith(f"{path}.")}
        return Given(table, kept | dict.fromkeys(leaves(value, path), origin))

    def with_decided(self, decided: Decided) -> Given:
        """Return these with what rules make of the settings that nobody gives."""
        found = self
        for setting, (value, _) in decided.items():
            found = found.with_value(setting, value, "a rule")
        return found

    def with_override(self, override: str | Override) -> Given:
        """Return these with an override, `a.b=value` where it is text; raise ConfigError for a malformed one."""
        if isinstance(override, Override):
            name, path, value = ".".join(override.path), override.path, override.value
            _require_shallow(name, len(path) - 1)
            try:
                _require_plain({name: value})
            except ValueError as error:
                raise ConfigError(f"{name[:_SHOWN_CHARACTERS]}: {error}") from None
            return self.with_value(path, value, f"call ({name}={shown(value)})")
        name, equals, text = override.partition("=")
        _require_shallow(override, name.count("."))
        if not equals or not name.strip():
            raise ConfigError(f"override {override!r} has no '='; write it as section.setting=value")
        return self.with_value(name.strip(), _parse_value(text.strip()), f"command line ({override})")


class Override(NamedTuple):
    """A setting that a program gives as a value, by its path."""

    path: tuple[str, ...]
    value: Any


def leaves(value: Any, path: str = "") -> list[str]:
    """Return the paths of all values in a table, itself at `path`, that are no tables or empty ones."""
    if isinstance(value, dict) and value:
        return [leaf for name, inner in value.items() for leaf in leaves(inner, f"{path}.{name}" if path else name)]
    return [path]


def _with_value(table: Mapping[str, Any], parts: list[str], value: Any, problem: str) -> Table:
    first, *more = parts
    if not more:
        return {**table, first: value}
    inner = table.get(first, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"{problem}: {first} is a value, not a table")
    return {**table, first: _with_value(inner, more, value, problem)}


def _require_shallow(override: str, num_dots: int) -> None:
    if num_dots >= MAX_DEPTH:
        raise ConfigError(f"override {override[:_SHOWN_CHARACTERS]!r} names no setting: it has {num_dots} dots")


def read_settings(path: Path, overrides: Sequence[str | Override], find: Callable[[str], Path | None]) -> Given:
    """Read a TOML file and what it extends, then apply the overrides.

    `find` turns the name in `extends` into a file (named recipes); a relative path is tried first, beside the file.
    Raises ConfigError for a missing file, broken TOML, a circle of `extends` or a malformed override.
    """
    given = Given()
    for file, table in reversed(_chain(path, find)):
        for name, value in table.items():
            if name != "extends":
                given = _merged(given, name, value, str(file))
    for override in overrides:
        given = given.with_override(override)
    return given


def _merged(given: Given, path: str, value: Any, origin: str) -> Given:
    if not (isinstance(value, dict) and isinstance(given.get(path), dict)):
        return given.with_value(path, value, origin)
    for name, inner in value.items():
        given = _merged(given, f"{path}.{name}", inner, origin)
    return given


def _chain(path: Path, find: Callable[[str], Path | None]) -> list[tuple[Path, Table]]:
    """Return a file and those that it extends, one after another, with what is in each."""
    chain: list[tuple[Path, Table]] = []
    while True:
        # resolved: ../folder/run.toml may be run.toml itself
        if any(path.resolve() == seen.resolve() for seen, _ in chain):
            raise ConfigError(f"{path} extends itself, by way of {' -> '.join(str(seen) for seen, _ in chain)}")
        chain.append((path, _with_code(_parse(path), path.parent)))
        parent = chain[-1][1].get("extends")
        if parent is None:
            return chain
        beside = path.parent / str(parent)
        found = beside if os.path.isfile(beside) else find(str(parent))
        if found is None:
            raise ConfigError(f"{path} extends {shown(parent)}, which is neither a file beside it nor a recipe")
        path = found


def _with_code(value: Any, folder: Path, name: str = "") -> Any:
    """Return a table with the files of a user's own code, `class = "mine.py:Name"`, by their full paths.

    A relative one lies beside the file that names it. What names no code is left to its settings to refuse.
    """
    if isinstance(value, dict):
        return {name: _with_code(inner, folder, name) for name, inner in value.items()}
    try:
        return str(find_code(value, folder)) if name == "class" and isinstance(value, str) else value
    except ValueError:
        return value


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
