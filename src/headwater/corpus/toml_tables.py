"""Tables and lists of words and signs that lie beside the code that goes by them."""

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


@cache
def listed(package: str, name: str) -> dict[str, None]:
    """Return the words of a file of a package, data/NAME.txt, in order; lines that begin with # are comments."""
    lines = files(package).joinpath("data", f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return dict.fromkeys(word for line in lines if not line.startswith("#") for word in line.split())
