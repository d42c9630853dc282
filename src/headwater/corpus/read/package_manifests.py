"""What the manifests of packages say of their licence: of Python's wheels and source archives, of npm's, of Cargo's.

Each function returns an SPDX expression; None where the manifest names no licence; "unknown" where it names one that
isn't understood; "in_a_file" where it points at a licence file; "refused" where it says that there is none to be had.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from email.parser import HeaderParser
from typing import Any

from headwater.corpus.fetch.licence import stated_in_metadata
from headwater.sources.spdx import UNKNOWN, any_of, spdx_of

REFUSED, POINTS = "refused", "in_a_file"
_REFUSES = re.compile(r"\bproprietary\b|\bunlicensed\b|\ball rights reserved\b|\bconfidential\b", re.IGNORECASE)
_FILE = r"[\"'`<]?(?:\./)?(?:un)?(?:licen[sc]es?|copying)(?:\.(?:txt|md|rst|markdown|html?))?[\"'`>]?"
_POINTS = re.compile(
    rf"(?:(?:please )?(?:see|read|refer to|in|file)[: ]+)?(?:the )?(?:file )?{_FILE}(?: file)?(?: in (?:the )?{_FILE})?"
    r"(?: for (?:more )?(?:details|information))?\.?",
    re.IGNORECASE,
)
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
    if (manifest := _toml(text)) is None:
        return _of_damaged(text)
    project, poetry = _table(manifest, "project"), _table(manifest, "tool", "poetry")
    licence = project.get("license") or poetry.get("license")
    if isinstance(licence, dict):
        licence = licence.get("text") or licence.get("file")
    if not isinstance(licence, str | None):
        return UNKNOWN
    classifiers = project.get("classifiers") or poetry.get("classifiers")
    listed = [each for each in classifiers if isinstance(each, str)] if isinstance(classifiers, list) else []
    return _of_python("", licence or "", listed)


def of_package_json(text: str) -> str | None:
    """Return what npm's package.json says: a name, an object with its type, or a list of such to choose from."""
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        return _of_damaged(text)
    said = (manifest.get("license") or manifest.get("licenses")) if isinstance(manifest, dict) else None
    listed = said if isinstance(said, list) else [said]
    names = [(each.get("type") or each.get("name")) if isinstance(each, dict) else each for each in listed if each]
    found = [_named(name) if isinstance(name, str) else UNKNOWN for name in names]
    if len(found) < 2 or REFUSED in found:
        return REFUSED if REFUSED in found else next(iter(found), None)
    return UNKNOWN if UNKNOWN in found or POINTS in found else any_of(found)


def of_cargo(text: str) -> str | None:
    """Return what Cargo.toml says of its package, or of all the packages of its workspace."""
    if (manifest := _toml(text)) is None:
        return _of_damaged(text)
    for package in (_table(manifest, "package"), _table(manifest, "workspace", "package")):
        for name in (package.get("license"), package.get("license-file")):
            if name and name != {"workspace": True}:  # which says it farther up
                return _named(name) if isinstance(name, str) else UNKNOWN
    return None


MANIFESTS: dict[str, Callable[[str], str | None]] = {
    "METADATA": of_python_metadata,
    "PKG-INFO": of_python_metadata,
    "pyproject.toml": of_pyproject,
    "package.json": of_package_json,
    "Cargo.toml": of_cargo,
}


def _of_python(expression: str, name: str, classifiers: list[str]) -> str | None:
    name = "" if name in _NO_NAME else name
    if _POINTS.fullmatch(name) and not expression:
        return _of_python("", "", classifiers) or POINTS
    found = stated_in_metadata(expression, name, classifiers)
    return REFUSED if found == UNKNOWN and refuses(" ".join([expression, name, *classifiers])) else found


def _named(name: str) -> str:
    if (found := spdx_of(name)) is not None:
        return found
    return REFUSED if refuses(name) else POINTS if _POINTS.fullmatch(name) else UNKNOWN


def _of_damaged(text: str) -> str | None:
    """Return what is taken from a manifest that can't be read: that it names a licence, where it speaks of one."""
    return UNKNOWN if "licen" in text.lower() else None


def _toml(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _table(manifest: dict[str, Any], *names: str) -> dict[str, Any]:
    found: Any = manifest
    for name in names:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
