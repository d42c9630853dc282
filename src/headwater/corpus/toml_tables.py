"""Tables of words and signs that lie as TOML beside the code that goes by them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def toml_table(package: str, name: str) -> dict[str, Any]:
    """Return the table of a file of a package: NAME.toml."""
    return tomllib.loads(files(package).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def keys_by_word(package: str, name: str, table: str = "") -> dict[str, str]:
    """Return, for each word that a table of a file lists, the key under which it stands there."""
    whole = toml_table(package, name)
    return {word: key for key, words in (whole[table] if table else whole).items() for word in words.split()}
