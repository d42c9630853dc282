"""The paths that a run file names for a source: what of each is no pattern, and how far below them a file lies."""

from __future__ import annotations

import glob
import os
from pathlib import Path, PurePath


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
