"""The paths that a run file names for a source: what of each is no pattern, and how far below them a file lies,
and in which repository: its files of code repeat each other, and fall on one side of the split.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePath

from headwater.corpus.document import Document, Drop
from headwater.corpus.sources.formats import format_of


def parts_and_pattern(given: str) -> tuple[tuple[str, ...], int]:
    """Return the parts of a path of the settings, and how many of them stand before the first that is a pattern."""
    parts = PurePath(os.path.expanduser(given)).parts
    return parts, next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))


def path_as_text(path: Path) -> str:
    """Return an absolute path for a process that starts elsewhere: a character for each byte, which may be any."""
    return os.fsencode(os.path.abspath(path)).decode("latin-1")


def path_of_text(text: str) -> Path:
    return Path(os.fsdecode(text.encode("latin-1")))


class SourcePaths:
    """The folders and files below which a source's paths find files."""

    def __init__(self, paths: list[str]) -> None:
        self._tops = [parts[:fixed] for parts, fixed in map(parts_and_pattern, paths)]

    def first_folder(self, origin: str) -> str:
        """Return the first folder below the path that found a file, or that path where the file lies right there."""
        parts = PurePath(origin).parts
        known = max((len(top) for top in self._tops if len(top) < len(parts) and parts[: len(top)] == top), default=0)
        return "/".join(parts[: min(known + 1, len(parts) - 1)])

    def levels_below(self, origin: str) -> int:
        """Return how many levels a file of this name lies below the highest; 0 for one that the settings name."""
        parts = PurePath(origin).parts
        return max((len(parts) - len(top) for top in self._tops if parts[: len(top)] == top), default=0)


class Repositories:
    """Finds the repository of a file: a folder with .git below the paths that the settings name, or an archive there.

    Where a path is itself a repository, or in one, its files stay apart: else there would be nothing to hold out.
    """

    def __init__(self, paths: list[str]) -> None:
        self._paths = SourcePaths(paths)
        self._is_repository = cache(lambda folder: os.path.exists(folder / ".git"))

    def grouped(self, pieces: Iterable[Document | Drop], path: Path, origin: str) -> Iterator[Document | Drop]:
        """Yield the pieces of a file, documents of code with the name of their repository."""
        group = self.of(path, origin)
        for piece in pieces:
            if isinstance(piece, Document) and piece.kind == "code" and group:
                yield replace(piece, meta={**piece.meta, "group": group})
            else:
                yield piece

    def of(self, path: Path, origin: str) -> str:
        """Return the settings' name of the repository that a file is in, or ""."""
        parts = PurePath(origin).parts
        below = self._paths.levels_below(origin)
        for up, folder in enumerate(list(path.parents)[: max(0, below - 1)], start=1):
            if self._is_repository(folder):
                return str(PurePath(*parts[:-up]))
        return origin if below > 0 and format_of(path.name) == "archive" else ""
