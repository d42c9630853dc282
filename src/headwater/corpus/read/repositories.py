"""Which files of code are of one repository: they repeat each other, and fall on one side of the split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePath

from headwater.corpus.document import Document, Drop
from headwater.corpus.source_paths import SourcePaths
from headwater.corpus.sources.formats import format_of


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
