"""What the licence files in a folder say of its licence: LICENSE and COPYING files, the manifests of packages.

A file says an SPDX expression; "unknown" where it names a licence that isn't understood, so that nothing from farther
up or from the run file is taken for it; "refused" where it reserves all rights. In one folder the least permissive
counts: a refusal, then what isn't understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeVar

from headwater.corpus.protect.licence_texts import MAX_CHARACTERS, licence_of_text
from headwater.corpus.read.formats import format_of
from headwater.corpus.read.package_manifests import MANIFESTS, POINTS, REFUSED, refuses
from headwater.sources.spdx import UNKNOWN, all_of, any_of, identifiers

MAX_LICENCE_FILE_BYTES = MAX_CHARACTERS  # a longer one is taken for a licence that isn't understood
_NAME = re.compile(r"(?:(?:un)?licen[sc]es?|copying)(?=$|[._-])", re.IGNORECASE)
_PLAIN_SUFFIX = re.compile(r"|\.(?:txt|md|rst|markdown|html?)", re.IGNORECASE)
_FORMATS = ("text", "markdown", "html", "unknown")
# the folders in which installers write what they know of the distributions that lie beside them
_INFO_SUFFIXES = (".dist-info", ".egg-info")
AnyPath = TypeVar("AnyPath", bound=PurePath)


def is_licence_file(name: str) -> bool:
    """Return whether a file of this name may say what licence its folder is under."""
    return name in MANIFESTS or (_NAME.match(name) is not None and format_of(name) in _FORMATS)  # license.py is code


def is_info(name: str) -> bool:
    """Return whether a folder of this name has the licence files of a distribution that lies beside it."""
    return name.endswith(_INFO_SUFFIXES)


def stated(name: str, data: bytes) -> str | None:
    """Return what a licence file says; None for one that names no licence, such as a manifest without that field."""
    if len(data) > MAX_LICENCE_FILE_BYTES:
        return UNKNOWN
    text = data.decode("utf-8-sig", "replace")
    if name in MANIFESTS:
        return MANIFESTS[name](text)
    if not text.strip():
        return None
    return licence_of_text(text) or (REFUSED if refuses(text) else UNKNOWN)


@dataclass(slots=True)
class FolderLicences:
    """What is said in one folder, by the name of the file; and that of distributions by the name of their folder."""

    said: dict[str, str] = field(default_factory=dict)
    distributions: dict[str, FolderLicences] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.said or self.distributions)

    def licence_for(self, child: str) -> str | None:
        """Return the licence of what lies in the folder under the name `child`; None where nothing is said of it."""
        found = _joined(self._own(), self._of_distribution(child))
        return UNKNOWN if found in (REFUSED, POINTS) else found

    def _own(self) -> str | None:
        manifests = [said for name, said in sorted(self.said.items()) if PurePath(name).name in MANIFESTS]
        found = _of_files({name: said for name, said in self.said.items() if PurePath(name).name not in MANIFESTS})
        for said in manifests:
            found = _joined(found, said)
        return found

    def _of_distribution(self, child: str) -> str | None:
        """Return what the distribution says that `child` belongs to, by its name; of one alone all is.

        Where several lie there, and none is called so, what isn't the same for all isn't known.
        """
        by_name = {_distribution(name): licences for name, licences in self.distributions.items()}
        if (named := by_name.get(_distribution(child.removesuffix(".py")))) is not None:
            return named._own()
        found = {licences._own() for licences in by_name.values()}
        return next(iter(found)) if len(found) == 1 else UNKNOWN if found else None


def nearest_licence(
    path: AnyPath, folders: Iterable[AnyPath], licences_in: Callable[[AnyPath], FolderLicences | None]
) -> str | None:
    """Return the licence that the first of `folders`, the nearest first, states for a file."""
    for folder in folders:
        licences = licences_in(folder)
        if licences and (found := licences.licence_for(path.relative_to(folder).parts[0])) is not None:
            return found
    return None


def _distribution(name: str) -> str:
    """Return the name of a distribution as that of its module is written: PyYAML-6.0.dist-info is "pyyaml"."""
    return re.sub(r"[._]+", "_", name.split("#")[0].split("-")[0].lower().removesuffix(".egg"))


def _of_files(said: dict[str, str]) -> str | None:
    """Return what the licence files of a folder say.

    LICENSE or COPYING counts before LICENSE-MIT and the like, of which one may choose, except that COPYING.LESSER
    beside the GPL narrows it down.
    """
    plain, others = list[str](), list[str]()
    for name in sorted(said):
        (plain if _PLAIN_SUFFIX.fullmatch(_after_name(PurePath(name).name)) else others).append(said[name])
    if REFUSED in plain + others:
        return REFUSED
    if UNKNOWN in plain:
        return UNKNOWN
    known_others = [each for each in others if each != UNKNOWN]
    lesser = [licence for licence in known_others if licence.startswith("LGPL")]
    if plain and not (lesser and plain[0].startswith("GPL")):
        return all_of(plain)
    return any_of(lesser or known_others) or None


def _joined(first: str | None, second: str | None) -> str | None:
    """Return what two statements say together: of the same licences the fuller one, of others both."""
    if first is None or second is None:
        return first or second
    if REFUSED in (first, second):
        return REFUSED
    if POINTS in (first, second):
        return second if first == POINTS else first
    if UNKNOWN in (first, second):
        return UNKNOWN
    if _licences(first) <= _licences(second):
        return second
    return first if _licences(second) <= _licences(first) else all_of([first, second])


def _licences(expression: str) -> set[str]:
    return {re.sub("-(?:only|or-later)$", "", each) for each in identifiers(expression)}


def _after_name(name: str) -> str:
    match = _NAME.match(name)
    return name[match.end() :] if match else name
