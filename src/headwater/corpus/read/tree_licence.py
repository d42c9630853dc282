"""The licence files of a tree of folders: each applies to what lies beside and below it, the nearest one up counts."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import NO_PERMISSION, reason_not_readable
from headwater.corpus.read.licence_files import (
    MAX_LICENCE_FILE_BYTES,
    FolderLicences,
    is_info,
    is_licence_file,
    nearest_licence,
    stated,
)
from headwater.sources.spdx import UNKNOWN


class TreeLicences:
    """Finds licence files between a file and the path that the settings name, never above it."""

    def __init__(self, paths: list[str]) -> None:
        self._tops = [PurePath(os.path.expanduser(_without_pattern(path))).parts for path in paths]
        self._found: dict[Path, FolderLicences | None] = {}

    def marked(self, pieces: Iterable[Document | Drop], path: Path, origin: str) -> Iterator[Document | Drop]:
        """Yield the pieces of a file, documents that name no licence of their own with that of the tree."""
        licence = self.licence_of(path, origin)
        for piece in pieces:
            yield with_licence(piece, licence)

    def licence_of(self, path: Path, origin: str) -> str | None:
        """Return the SPDX expression for a file, by the settings' name for it; None where no licence file speaks of it.

        "unknown" where the nearest that does isn't understood.
        """
        parts = PurePath(origin).parts
        levels = max((len(parts) - len(top) for top in self._tops if parts[: len(top)] == top), default=0)
        return nearest_licence(path, list(path.parents)[:levels], self._licences_in)

    def _licences_in(self, folder: Path) -> FolderLicences | None:
        if folder not in self._found:
            self._found[folder] = _licences_in(folder) or None
        return self._found[folder]


def with_licence(piece: Document | Drop, licence: str | None) -> Document | Drop:
    """Return the piece, a document that names no licence of its own with this one."""
    if licence is None or isinstance(piece, Drop) or "licence" in piece.meta:
        return piece
    return replace(piece, meta={**piece.meta, "licence": licence})


def _without_pattern(path: str) -> str:
    parts = PurePath(path).parts
    plain = [at for at, part in enumerate(parts) if glob.has_magic(part)]
    return str(PurePath(*parts[: plain[0]])) if plain and plain[0] else path


def _licences_in(folder: Path) -> FolderLicences:
    licences = FolderLicences(_said_in(folder))
    for info in _names(folder, is_info):
        if said := _said_below(folder / info):
            licences.distributions[info] = FolderLicences(said)
    return licences


def _said_in(folder: Path) -> dict[str, str]:
    said = {name: _said(folder / name) for name in _names(folder, is_licence_file)}
    return {name: each for name, each in said.items() if each is not None}


def _said_below(info: Path) -> dict[str, str]:
    """Return what the licence files of a distribution say, in its folder and below, by their names there."""
    said: dict[str, str] = {}
    for folder, inner, _ in os.walk(info):
        inner[:] = [name for name in inner if not is_info(name)]
        below = Path(folder).relative_to(info)
        said |= {(below / name).as_posix(): each for name, each in _said_in(Path(folder)).items()}
    return said


def _names(folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if wanted(entry.name))
    except OSError:
        return []


def _said(path: Path) -> str | None:
    """Return what a licence file says; "unknown" for one that can't be read, None where there is no text to read."""
    if (reason := reason_not_readable(path)) is not None:
        return UNKNOWN if reason == NO_PERMISSION and path.is_file() else None
    try:
        with open(path, "rb") as file:
            return stated(path.name, file.read(MAX_LICENCE_FILE_BYTES + 1))
    except OSError:
        return UNKNOWN
