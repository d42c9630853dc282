"""Which licence a file of a tree is under: licence files apply to what lies beside and below, the nearest counts.

The tree is a folder on disk (`TreeLicences`) or what an archive holds (`ArchiveLicences`). In one folder the least
permissive counts: a refusal, then what isn't understood. What installers write of a distribution (.dist-info) is said
of all that lies beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, reduce
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
from headwater.corpus.licences.names import all_of, base_of
from headwater.corpus.source_paths import SourcePaths
from headwater.corpus.sources.spdx import UNKNOWN, identifiers

AnyPath = TypeVar("AnyPath", bound=PurePath)


_NPM_DEFAULT = {"package.json": "ISC"}  # of whoever named no licence: counts where nothing else does
Stated = dict[str, str]  # what is stated in one folder, by the names of the files; of distributions there, too


class TreeLicences:
    """Finds licence files between a file and the path that the settings name, never above it."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = SourcePaths(paths)
        self._stated_in = cache(_stated_in)

    def found_for(self, path: Path, origin: str) -> tuple[str | None, str]:
        """Return the SPDX expression for a file, by the settings' name for it; None where no licence file speaks of it.

        "unknown" where the nearest that does isn't understood, and the name of that one, else "".
        """
        return _nearest(list(path.parents)[: self._paths.levels_below(origin)], self._stated_in)


class ArchiveLicences:
    """What the licence files of an archive say, by folder."""

    def __init__(self) -> None:
        self._folders: dict[PurePosixPath, Stated] = {}
        self.is_whole = True

    def add_(self, name: str, licence: str) -> None:
        """Add what the licence file of this name says: of its folder, and of a distribution beside that."""
        path = PurePosixPath(name)
        info = next((folder for folder in path.parents if _is_info(folder.name)), None)
        for folder in {path.parent, info.parent if info else path.parent}:
            self._folders.setdefault(folder, {})[str(path.relative_to(folder))] = licence

    def found_for(self, name: str) -> tuple[str | None, str]:
        """Return what is said of a file of the archive, as TreeLicences does.

        Where not all licence files could be read, what is under none of those that were is "unknown".
        """
        licence, file = _nearest(PurePosixPath(name).parents, self._folders.get)
        return licence or (None if self.is_whole else UNKNOWN), file


def with_licence(piece: Document | Drop, licence: str | None, file: str = "") -> Document | Drop:
    """Return the piece, a document that names no licence of its own with this one, and the file not understood."""
    if licence is None or isinstance(piece, Drop) or "licence" in piece.meta:
        return piece
    named = {"licence_named": file} if licence == UNKNOWN and file else {}
    return replace(piece, meta={**piece.meta, "licence": licence, **named})


def _nearest(folders: Iterable[AnyPath], stated_in: Callable[[AnyPath], Stated | None]) -> tuple[str | None, str]:
    """Return what the first of `folders`, the nearest first, states, and the file that isn't understood, "" without."""
    default = None
    for folder in folders:
        stated = stated_in(folder) or {}
        if stated == _NPM_DEFAULT:
            default = default or "ISC"
            continue
        manifests = sorted(name for name in stated if PurePath(name).name in MANIFESTS)
        others = {name: licence for name, licence in stated.items() if name not in manifests}
        found = [each for each in (of_licence_files(others), *(stated[name] for name in manifests)) if each is not None]
        known = [each for each in found if each != POINTS]
        if UNKNOWN in known or REFUSED in known or (found and not known):
            return UNKNOWN, next((name for name in sorted(stated) if stated[name] in (UNKNOWN, REFUSED)), "")
        if known:
            return reduce(_together, known), ""
    return default, ""


def _together(first: str, second: str) -> str:
    """Return what two statements say together: of the same licences the fuller one, of others both."""
    if _licences(first) <= _licences(second):
        return second
    return first if _licences(second) <= _licences(first) else all_of([first, second])


def _licences(expression: str) -> set[str]:
    return {base_of(each) for each in identifiers(expression)}


def _is_info(name: str) -> bool:
    """Return whether installers write into a folder of this name what they know of the distribution beside it."""
    return name.endswith((".dist-info", ".egg-info"))


def _stated_in(folder: Path) -> Stated:
    """Return what the licence files of a folder say, and those of the distributions beside it, at any depth."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    files = [folder / name for name in names if is_licence_file(name)]
    for info in filter(_is_info, names):
        files += (path for path in sorted((folder / info).rglob("*")) if is_licence_file(path.name))
    stated = {path.relative_to(folder).as_posix(): _stated(path) for path in files}
    return {name: licence for name, licence in stated.items() if licence is not None}


def _stated(path: Path) -> str | None:
    """Return what a licence file says; "unknown" for one that can't be read, None for what is no file."""
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            return stated(path.name, file.read(MAX_LICENCE_FILE_BYTES + 1))
    except OSError:
        return UNKNOWN
