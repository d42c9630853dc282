"""The files that a source's paths name, in an order that is the same on every machine."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from headwater.errors import DataError

_NOT_READ = {"__pycache__", "node_modules"}
_OWN_FORMAT = b'"format": "headwater-'


def find_files(paths: list[str], source: str) -> Iterator[tuple[Path, str]]:
    """Yield each file once, with its origin: the path as the settings name it, then what is below.

    Left out of folders: names that start with a dot, __pycache__, node_modules, and the folders that headwater made
    (a run kept beside its text must not become its own input). Links to folders are not followed: they may form a
    circle. Raises DataError for a path or pattern that names nothing.
    """
    seen: set[str] = set()
    for given in paths:
        for top in _expand(given, source):
            for path in _files_under(top):
                real = os.path.realpath(path)
                if real not in seen:
                    seen.add(real)
                    yield path, printable(path)


def printable(path: Path) -> str:
    """Return a path as text; bytes of a name that aren't UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _expand(given: str, source: str) -> list[Path]:
    path = Path(given).expanduser()
    if os.path.lexists(path):
        return [path]
    found = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(given) else []
    if not found:
        what = "no file matches" if glob.has_magic(given) else "no such file or folder:"
        raise DataError(f"source {source!r}: {what} {given!r} (looked from {Path.cwd()}); correct its `paths`")
    return [Path(name) for name in found]


def _files_under(top: Path) -> Iterator[Path]:
    if not top.is_dir():
        yield top
        return
    unreadable: list[Path] = []
    for folder, folders, names in os.walk(top, onerror=lambda error: unreadable.append(Path(error.filename))):
        if _is_own(Path(folder), names):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if _is_read(name))
        for name in sorted(filter(_is_read, names)):
            yield Path(folder) / name
    yield from unreadable


def _is_own(folder: Path, names: list[str]) -> bool:
    """Return whether a folder is a run of headwater's or one of its stages."""
    marks = [folder / name for name in ("config.json", "manifest.json") if name in names]
    return any(_OWN_FORMAT in mark.read_bytes()[:200] for mark in marks if mark.is_file() and os.access(mark, os.R_OK))


def _is_read(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_READ
