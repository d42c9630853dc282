"""The licence files of a tree: each applies to what lies beside and below it, the nearest one up counts."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from headwater.corpus.document import Document, Drop
from headwater.corpus.protect.licence_texts import licence_of_text
from headwater.corpus.read.formats import language_of
from headwater.corpus.read.input import reason_not_readable

_MAX_BYTES = 200_000
_NAME = re.compile(r"(?:un)?licen[sc]e|copying", re.IGNORECASE)
_PLAIN_SUFFIX = re.compile(r"|\.(?:txt|md|rst|markdown)", re.IGNORECASE)


class TreeLicences:
    """Looks for licence files between a file and the path that the settings name, never above it."""

    def __init__(self, paths: list[str]) -> None:
        self._tops = [PurePath(os.path.expanduser(_without_pattern(path))).parts for path in paths]
        self._found: dict[Path, str | None] = {}

    def marked(self, pieces: Iterable[Document | Drop], path: Path, origin: str) -> Iterator[Document | Drop]:
        """Yield the pieces of a file, documents that name no licence of their own with that of the tree."""
        licence = self.licence_of(path, origin)
        for piece in pieces:
            if licence is None or isinstance(piece, Drop) or "licence" in piece.meta:
                yield piece
            else:
                yield replace(piece, meta={**piece.meta, "licence": licence})

    def licence_of(self, path: Path, origin: str) -> str | None:
        """Return the SPDX expression for a file, by the settings' name for it; None where no licence file is known."""
        parts = PurePath(origin).parts
        levels = max((len(parts) - len(top) for top in self._tops if parts[: len(top)] == top), default=0)
        for folder in list(path.parents)[:levels]:
            if folder not in self._found:
                self._found[folder] = _licence_in(folder)
            if self._found[folder] is not None:
                return self._found[folder]
        return None


def _without_pattern(path: str) -> str:
    parts = PurePath(path).parts
    plain = [at for at, part in enumerate(parts) if glob.has_magic(part)]
    return str(PurePath(*parts[: plain[0]])) if plain and plain[0] else path


def _licence_in(folder: Path) -> str | None:
    """Return what the licence files of a folder say.

    LICENSE or COPYING counts before LICENSE-MIT and the like, of which one may choose, except that COPYING.LESSER
    beside the GPL narrows it down.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if _is_licence(entry.name))
    except OSError:
        return None
    plain, others = list[str](), list[str]()
    for name in names:
        found = _licence_of_file(folder / name)
        if found is not None:
            (plain if _PLAIN_SUFFIX.fullmatch(name[_end_of_name(name) :]) else others).append(found)
    lesser = [licence for licence in others if licence.startswith("LGPL")]
    if plain and not (lesser and plain[0].startswith("GPL")):
        return " AND ".join(_grouped(dict.fromkeys(plain)))
    chosen = lesser or others
    return " OR ".join(_grouped(dict.fromkeys(chosen))) or None


def _is_licence(name: str) -> bool:
    return _NAME.match(name) is not None and language_of(name) is None  # license.py is code


def _grouped(licences: Iterable[str]) -> list[str]:
    found = list(licences)
    return found if len(found) == 1 else [f"({each})" if " " in each else each for each in found]


def _end_of_name(name: str) -> int:
    match = _NAME.match(name)
    return match.end() if match else 0


def _licence_of_file(path: Path) -> str | None:
    if reason_not_readable(path) is not None:
        return None
    try:
        with open(path, "rb") as file:
            return licence_of_text(file.read(_MAX_BYTES).decode(errors="replace"))
    except OSError:
        return None
