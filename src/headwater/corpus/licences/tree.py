"""Which licence a file of a tree is under: licence files apply to what lies beside and below, the nearest counts.

The tree is a folder on disk (`TreeLicences`) or what an archive holds (`ArchiveLicences`). In one folder the least
permissive counts: a refusal, then what isn't understood. What installers write of a distribution (.dist-info) is said
of all that lies beside it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.files import (
    MANIFESTS,
    MAX_LICENCE_FILE_BYTES,
    POINTS,
    REFUSED,
    is_licence_file,
    of_licence_files,
    stated,
)
from headwater.corpus.licences.names import all_of
from headwater.corpus.source_paths import SourcePaths
from headwater.sources.spdx import UNKNOWN, identifiers

AnyPath = TypeVar("AnyPath", bound=PurePath)


class _FolderLicences(dict[str, str]):
    """What is said in one folder, by the names of the files; in those of the distributions that lie there, too."""

    def licence(self) -> str | None:
        """Return the licence of what lies in the folder; None where nothing is said of it."""
        manifests = {name for name in self if PurePath(name).name in MANIFESTS}
        found = of_licence_files({name: said for name, said in self.items() if name not in manifests})
        for name in sorted(manifests):
            found = _joined(found, self[name])
        return UNKNOWN if found in (REFUSED, POINTS) else found

    def not_understood(self) -> str:
        """Return the name of a licence file that isn't understood, "" where all are."""
        return next((name for name, said in sorted(self.items()) if said in (UNKNOWN, REFUSED)), "")


class TreeLicences:
    """Finds licence files between a file and the path that the settings name, never above it."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = SourcePaths(paths)
        self._found: dict[Path, _FolderLicences] = {}

    def marked(self, pieces: Iterable[Document | Drop], path: Path, origin: str) -> Iterator[Document | Drop]:
        """Yield the pieces of a file, documents that name no licence of their own with that of the tree."""
        found = self.found_for(path, origin)
        return (with_licence(piece, *found) for piece in pieces)

    def found_for(self, path: Path, origin: str) -> tuple[str | None, str]:
        """Return the SPDX expression for a file, by the settings' name for it; None where no licence file speaks of it.

        "unknown" where the nearest that does isn't understood, and the name of that one, else "".
        """
        return _nearest(list(path.parents)[: self._paths.levels_below(origin)], self._licences_in)

    def _licences_in(self, folder: Path) -> _FolderLicences:
        if folder not in self._found:
            said = _FolderLicences(_said_in(folder))
            for info in _names(folder, _is_info):
                said |= {f"{info}/{name}": each for name, each in _said_below(folder / info).items()}
            self._found[folder] = said
        return self._found[folder]


class ArchiveLicences:
    """What the licence files of an archive say, by folder."""

    def __init__(self) -> None:
        self._folders: dict[PurePosixPath, _FolderLicences] = {}
        self.is_whole = True

    def add_(self, name: str, said: str) -> None:
        """Add what the licence file of this name says: of its folder, and of a distribution beside that."""
        path = PurePosixPath(name)
        info = next((folder for folder in path.parents if _is_info(folder.name)), None)
        for folder in {path.parent, info.parent if info else path.parent}:
            self._folders.setdefault(folder, _FolderLicences())[str(path.relative_to(folder))] = said

    def found_for(self, name: str) -> tuple[str | None, str]:
        """Return what is said of a file of the archive, as TreeLicences does.

        Where not all licence files could be read, what is under none of those that were is "unknown".
        """
        path = PurePosixPath(name)
        licence, file = _nearest(path.parents, self._folders.get)
        return licence or (None if self.is_whole else UNKNOWN), file


def with_licence(piece: Document | Drop, licence: str | None, file: str = "") -> Document | Drop:
    """Return the piece, a document that names no licence of its own with this one, and the file not understood."""
    if licence is None or isinstance(piece, Drop) or "licence" in piece.meta:
        return piece
    named = {"licence_named": file} if licence == UNKNOWN and file else {}
    return replace(piece, meta={**piece.meta, "licence": licence, **named})


def _nearest(
    folders: Iterable[AnyPath], licences_in: Callable[[AnyPath], _FolderLicences | None]
) -> tuple[str | None, str]:
    """Return the licence that the first of `folders`, the nearest first, states, and the file that isn't understood, ""
    without one.
    """
    for folder in folders:
        licences = licences_in(folder)
        if licences and (found := licences.licence()) is not None:
            return found, licences.not_understood() if found == UNKNOWN else ""
    return None, ""


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


def _is_info(name: str) -> bool:
    """Return whether installers write into a folder of this name what they know of the distribution beside it."""
    return name.endswith((".dist-info", ".egg-info"))


def _said_below(info: Path) -> dict[str, str]:
    """Return what the licence files of a distribution say, in its folder and below, by their names there."""
    said: dict[str, str] = {}
    for folder, inner, _ in os.walk(info):
        inner[:] = [name for name in inner if not _is_info(name)]
        below = Path(folder).relative_to(info)
        said |= {(below / name).as_posix(): each for name, each in _said_in(Path(folder)).items()}
    return said


def _said_in(folder: Path) -> dict[str, str]:
    said = {name: _said(folder / name) for name in _names(folder, is_licence_file)}
    return {name: each for name, each in said.items() if each is not None}


def _names(folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if wanted(entry.name))
    except OSError:
        return []


def _said(path: Path) -> str | None:
    """Return what a licence file says; "unknown" for one that can't be read, None for what is no file."""
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            return stated(path.name, file.read(MAX_LICENCE_FILE_BYTES + 1))
    except OSError:
        return UNKNOWN
