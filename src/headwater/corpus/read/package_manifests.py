"""What the manifests of packages say of their licence: of Python's wheels and source archives, of npm's, of Cargo's.

Each function returns an SPDX expression; None where the manifest names no licence; "unknown" where it names one that
isn't understood, or a file; "refused" where it says that there is none to be had.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from email.parser import HeaderParser
from typing import Any

from headwater.corpus.fetch.licence import stated_in_metadata
from headwater.corpus.protect.spdx import UNKNOWN, spdx_of

REFUSED = "refused"
_REFUSES = re.compile(r"\bproprietary\b|\bunlicensed\b|\ball rights reserved\b|\bconfidential\b", re.IGNORECASE)
_NO_NAME = ("", "UNKNOWN")  # as old tools write it


def refuses(text: str) -> bool:
    """Return whether a text that states no licence that is known says that it grants none."""
    return _REFUSES.search(text) is not None


def of_python_metadata(text: str) -> str | None:
    """Return what METADATA or PKG-INFO says."""
    if not text.startswith("Metadata-Version:"):
        return None
    message = HeaderParser().parsestr(text)
    expression, name = (str(message.get(key, "")).strip() for key in ("License-Expression", "License"))
    return _of_python(expression, name, [str(value) for value in message.get_all("Classifier", [])])


def of_pyproject(text: str) -> str | None:
    """Return what pyproject.toml says in [project], or in [tool.poetry] as it was once."""
    manifest = _toml(text)
    project, poetry = _table(manifest, "project"), _table(manifest, "tool", "poetry")
    licence = project.get("license") or poetry.get("license")
    if isinstance(licence, dict):
        licence = licence.get("text") or licence.get("file")
    classifiers = project.get("classifiers") or poetry.get("classifiers")
    listed = [each for each in classifiers if isinstance(each, str)] if isinstance(classifiers, list) else []
    return _of_python("", licence if isinstance(licence, str) else "", listed)


def of_package_json(text: str) -> str | None:
    """Return what npm's package.json says: a name, an object with its type, or a list of such to choose from."""
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        return None
    said = (manifest.get("license") or manifest.get("licenses")) if isinstance(manifest, dict) else None
    listed = said if isinstance(said, list) else [said]
    names = [each.get("type") if isinstance(each, dict) else each for each in listed]
    found = [_named(name) for name in names if isinstance(name, str) and name.strip()]
    unclear = next((each for each in found if each in (UNKNOWN, REFUSED)), None)
    return unclear or " OR ".join(dict.fromkeys(found)) or None


def of_cargo(text: str) -> str | None:
    """Return what Cargo.toml says of its package, or of all the packages of its workspace."""
    manifest = _toml(text)
    for package in (_table(manifest, "package"), _table(manifest, "workspace", "package")):
        if isinstance(name := package.get("license"), str):
            return _named(name)
        if "license-file" in package:
            return UNKNOWN
    return None


MANIFESTS: dict[str, Callable[[str], str | None]] = {
    "METADATA": of_python_metadata,
    "PKG-INFO": of_python_metadata,
    "pyproject.toml": of_pyproject,
    "package.json": of_package_json,
    "Cargo.toml": of_cargo,
}


def _of_python(expression: str, name: str, classifiers: list[str]) -> str | None:
    found = stated_in_metadata(expression, "" if name in _NO_NAME else name, classifiers)
    return REFUSED if found == UNKNOWN and refuses(" ".join([expression, name, *classifiers])) else found


def _named(name: str) -> str:
    return spdx_of(name) or (REFUSED if refuses(name) else UNKNOWN)


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def _table(manifest: dict[str, Any], *names: str) -> dict[str, Any]:
    found: Any = manifest
    for name in names:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
