"""What the files of a package say of its licence: LICENSE and COPYING, the manifests of packages, Debian's copyright.

Each reader returns an SPDX expression; None where the file names no licence; "unknown" where it names one that isn't
understood, so that nothing from farther up is taken for it; "in_a_file" where a manifest points at a licence file;
"refused" where all rights are reserved.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from email.parser import HeaderParser
from typing import Any

from headwater.corpus.licences.names import all_of, any_of, spdx_of
from headwater.corpus.licences.texts import MAX_CHARACTERS, licence_of_text
from headwater.corpus.sources.formats import format_of
from headwater.corpus.sources.spdx import UNKNOWN

MAX_LICENCE_FILE_BYTES = MAX_CHARACTERS  # a longer one is taken for a licence that isn't understood
REFUSED, POINTS = "refused", "in_a_file"
_NAME = re.compile(r"(?:(?:un)?licen[sc]es?|copying|copyright)(?=$|[._-])", re.IGNORECASE)
_BEFORE_NAME = re.compile(r"(?:mit|apache|bsd|isc|[al]?gpl|mpl)[-_]", re.IGNORECASE)  # MIT-LICENSE, as Ruby has it
_OF_OTHERS = re.compile(r"third.?part|3rd.?part|vendor|bundled|dependenc|external|foreign", re.IGNORECASE)
_PLAIN_SUFFIX = re.compile(r"|\.(?:txt|md|rst|markdown|html?)", re.IGNORECASE)
_FORMATS = ("text", "markdown", "html", "unknown")
_REFUSES = re.compile(r"\bproprietary\b|\bunlicensed\b|\bconfidential\b|\ball rights reserved\b", re.IGNORECASE)
_FILE = r"[\"'`<]?(?:\.{1,2}/)*(?:un)?(?:licen[sc]es?|copying)(?:-\w+)?(?:\.(?:txt|md|rst|markdown|html?))?[\"'`>]?"
_POINTS = re.compile(
    rf"(?:(?:(?:please )?see|in|file)[: ]+)*(?:the )?(?:file )?{_FILE}(?: file)?(?: in the \S+ distribution)?"
    rf"(?: in (?:the )?{_FILE})?(?:,? for (?:licen[sc]ing )?details)?\.?",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"<!--.*?-->", re.DOTALL)  # in Markdown, of programs that write the file
# classifiers that say that there is a licence, not which
_NO_LICENCE = ("OSI Approved", "DFSG approved")


def is_licence_file(name: str) -> bool:
    """Return whether a file of this name may say what licence its folder is under."""
    is_named = _NAME.match(_BEFORE_NAME.sub("", name, count=1)) is not None and _OF_OTHERS.search(name) is None
    return name in MANIFESTS or (is_named and format_of(name) in _FORMATS)  # license.py is code


def stated(name: str, data: bytes) -> str | None:
    """Return what a licence file says."""
    if len(data) > MAX_LICENCE_FILE_BYTES:
        return UNKNOWN
    text = data.decode("utf-8-sig", "replace")
    if name in MANIFESTS:
        return MANIFESTS[name](text)
    if not text.strip():
        return None
    text = _HIDDEN.sub("", text)
    found = spdx_of(text)
    if found is None and _POINTS.fullmatch(line := " ".join(text.split())):
        return None if line.startswith("..") else POINTS  # what a link to a file farther up becomes in some archives
    found = found or licence_of_text(text)
    return REFUSED if found == UNKNOWN and _REFUSES.search(text) else found


def of_licence_files(found: dict[str, str]) -> str | None:
    """Return what the licence files of one folder say, by their names.

    LICENSE or COPYING counts before LICENSE-MIT and the like, of which one may choose where all are understood, except
    that COPYING.LESSER beside the GPL narrows it down.
    """
    plain, others = list[str](), list[str]()
    if not (speaking := [name for name in sorted(found) if found[name] != POINTS]):
        return POINTS if found else None
    for name in speaking:
        rest = _NAME.sub("", name.rsplit("/", 1)[-1], count=1)
        (plain if _PLAIN_SUFFIX.fullmatch(rest) else others).append(found[name])
    if REFUSED in plain + others:
        return REFUSED
    if UNKNOWN in plain:
        return UNKNOWN
    lesser = [licence for licence in others if licence.startswith("LGPL")]
    if plain and not (lesser and plain[0].startswith("GPL")):
        return all_of(plain)
    if lesser:
        return any_of(lesser)
    known = [licence for licence in others if licence != UNKNOWN]
    return UNKNOWN if known != others and known else any_of(known) or None


def of_debian_copyright(text: str) -> str:
    """Return the licence that a Debian copyright file states for all files (`Files: *`); "unknown" for others."""
    for part in re.split(r"\n[ \t]*\n", text):
        paragraph = HeaderParser().parsestr(part.strip())
        if "*" in str(paragraph.get("Files", "")).split():
            name = str(paragraph.get("License", "")).split("\n")[0].strip()
            return spdx_of(name) or UNKNOWN
    return UNKNOWN


def of_package_file(name: str, text: str) -> str | None:
    """Return what a package's own copyright file (Debian) or metadata (Python) says, by the file's name."""
    licence = of_debian_copyright(text) if name.endswith("/copyright") else of_python_metadata(text)
    return UNKNOWN if licence in (POINTS, REFUSED) else licence


def of_python_metadata(text: str) -> str | None:
    """Return what METADATA or PKG-INFO says."""
    if not text.startswith("Metadata-Version:"):
        return None
    message = HeaderParser().parsestr(text)
    expression, name = (str(message.get(key, "")).strip() for key in ("License-Expression", "License"))
    return _of_python(expression, name, [str(value) for value in message.get_all("Classifier", [])])


def _of_pyproject(manifest: Any) -> str | None:
    """Return what pyproject.toml says in [project], or in [tool.poetry] as it was once."""
    project, poetry = _table(manifest, "project"), _table(manifest, "tool", "poetry")
    licence = project.get("license") or poetry.get("license")
    if isinstance(licence, dict):
        licence = licence.get("text") or licence.get("file")
    if not isinstance(licence, str | None):
        return UNKNOWN
    classifiers = project.get("classifiers") or poetry.get("classifiers")
    listed = [each for each in classifiers if isinstance(each, str)] if isinstance(classifiers, list) else []
    return _of_python("", licence or "", listed)


def _of_package_json(manifest: Any) -> str | None:
    """Return what npm's package.json says: a name, an object with its type, or a list of such to choose from."""
    licences = (manifest.get("license") or manifest.get("licenses")) if isinstance(manifest, dict) else None
    listed = licences if isinstance(licences, list) else [licences]
    names = [(each.get("type") or each.get("name")) if isinstance(each, dict) else each for each in listed if each]
    found = [_named(name) if isinstance(name, str) else UNKNOWN for name in names]
    if len(found) < 2 or REFUSED in found:
        return REFUSED if REFUSED in found else next(iter(found), None)
    return UNKNOWN if UNKNOWN in found or POINTS in found else any_of(found)


def _of_cargo(manifest: Any) -> str | None:
    """Return what Cargo.toml says of its package, or of all the packages of its workspace."""
    for package in (_table(manifest, "package"), _table(manifest, "workspace", "package")):
        for name in (package.get("license"), package.get("license-file")):
            if name and name != {"workspace": True}:  # which says it farther up
                return _named(name) if isinstance(name, str) else UNKNOWN
    return None


def _reader(parse: Callable[[str], Any], stated_by: Callable[[Any], str | None]) -> Callable[[str], str | None]:
    """Return what reads a manifest. One that can't be read names a licence where it speaks of one."""

    def read(text: str) -> str | None:
        try:
            manifest = parse(text)
        except (ValueError, RecursionError):
            return UNKNOWN if "licen" in text.lower() else None
        return stated_by(manifest)

    return read


MANIFESTS: dict[str, Callable[[str], str | None]] = {
    "METADATA": of_python_metadata,
    "PKG-INFO": of_python_metadata,
    "pyproject.toml": _reader(tomllib.loads, _of_pyproject),
    "package.json": _reader(json.loads, _of_package_json),
    "composer.json": _reader(json.loads, _of_package_json),
    "Cargo.toml": _reader(tomllib.loads, _of_cargo),
}


def _of_python(expression: str, name: str, classifiers: Iterable[str]) -> str | None:
    """Return the licence by the three fields in which it may stand.

    An expression decides; a name, which may be a whole text, goes before classifiers, all of which apply.
    """
    if expression:
        return _named(expression)
    points = _POINTS.fullmatch(name) is not None
    if name and name != "UNKNOWN" and not points:
        found = _named(name)
        return licence_of_text(name) if found == UNKNOWN else found
    listed = [each.split(" :: ")[-1].strip() for each in classifiers if each.startswith("License ::")]
    known = [_named(each) for each in dict.fromkeys(listed) if each not in _NO_LICENCE]
    if not known:
        return POINTS if points else None
    return next((sign for sign in (REFUSED, UNKNOWN) if sign in known), None) or all_of(known)


def _named(name: str) -> str:
    if (found := spdx_of(name)) is not None:
        return found
    return REFUSED if _REFUSES.search(name) else POINTS if _POINTS.fullmatch(name) else UNKNOWN


def _table(manifest: dict[str, Any], *names: str) -> dict[str, Any]:
    found: Any = manifest
    for name in names:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
