"""Writes settings into a person's own run file; all else in it, comments too, stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from headwater.core.errors import ConfigError
from headwater.core.files import write_text
from headwater.runfile.given import Given
from headwater.runfile.run_config import find_recipe


def write_overrides(path: Path, overrides: Sequence[str]) -> None:
    """Write overrides, `a.b=value` each, into a run file.

    Raises ConfigError where the file isn't there, isn't TOML, is one of the recipes that come with headwater, or has a
    value where a table is needed.
    """
    recipe = find_recipe(path.stem)
    if not path.is_file() or (recipe is not None and path.samefile(recipe)):
        raise ConfigError(
            f"{path} is not a run file of yours, so nothing is written into it; name one (NAME.toml), which may say "
            '`extends = "RECIPE"`'
        )
    try:
        document = tomlkit.parse(path.read_bytes().decode())  # as bytes: ends of lines stay, too
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    for override in overrides:
        given = Given().with_override(override)
        (name,) = given.origins
        *tables, setting = name.split(".")
        table = document
        for each in tables:
            table = table.setdefault(each, tomlkit.table())
            if not hasattr(table, "setdefault"):
                raise ConfigError(f"{path}: {each} is a value, not a table; {name} can't be written")
        table[setting] = given.get(name)
    write_text(path, tomlkit.dumps(document))
