"""The files that a source's paths name, in an order that is the same on every machine."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from headwater.corpus.read.remote import NOT_READ, OF_THIS_MACHINE, find_addresses, is_address
from headwater.errors import DataError

# what Hugging Face writes beside the Arrow files of a data set: it says nothing that is text
_CARDS = {"state.json", "dataset_info.json", "dataset_dict.json"}
_OWN_FORMAT = b'"format": "headwater-'
_HEAD_BYTES = 200


def find_files(paths: list[str], setting: str) -> Iterator[tuple[Path, str]]:
    """Yield each file once, with its origin: the path as the settings name it, then what is below.

    `setting` is what gave the paths, for messages: "corpus.sources.mine.paths".

    A file elsewhere has its address for an origin; the path beside it names nothing here (read.remote).

    Left out of folders: names that start with a dot, __pycache__, node_modules, and the folders that headwater made
    (a run kept beside its text must not become its own input). Links to folders are not followed: they may form a
    circle. Raises DataError for a path or pattern that names nothing.
    """
    seen: set[str] = set()
    for given in paths:
        if is_address(given):
            yield from _remote_files(given, setting, seen)
            continue
        given = given[given.index("://") + 3 :] if given.lower().startswith(OF_THIS_MACHINE) else given
        for top in _expand(given, setting):
            for path in _files_under(top):
                real = os.path.realpath(path)
                if real not in seen:
                    seen.add(real)
                    yield path, printable(path)


def _remote_files(given: str, setting: str, seen: set[str]) -> Iterator[tuple[Path, str]]:
    for address in find_addresses(given, setting):
        if address not in seen:
            seen.add(address)
            yield Path(address), address


def printable(path: Path) -> str:
    """Return a path as text; bytes of a name that aren't UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _expand(given: str, setting: str) -> list[Path]:
    try:
        path = Path(given).expanduser()
        if os.path.lexists(path):
            return [path]
        found = _outermost(sorted(_matches(str(path)))) if glob.has_magic(given) else []
    except (RuntimeError, ValueError) as error:  # no such user's home; a zero in the name
        raise DataError(f"{setting}: {given!r} can't be a path ({error}); correct it") from None
    if not found:
        what = "no file matches" if glob.has_magic(given) else "no such file or folder:"
        raise DataError(f"{setting}: {what} {given!r} (looked from {Path.cwd()}); correct it")
    return found


def _outermost(names: list[str]) -> list[Path]:
    """Return the paths that don't lie in another of them: a folder is read whole."""
    kept: dict[Path, None] = {}
    for path in map(Path, names):
        if not any(parent in kept for parent in path.parents):
            kept[path] = None
    return list(kept)


def _matches(pattern: str) -> list[str]:
    """Return what a pattern matches, as `glob` does, but for links to folders, which its ** follows in circles."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return glob.glob(pattern)
    at = parts.index("**")
    found = []
    for top in glob.glob(str(Path(*parts[:at]))) if at else ["."]:
        for folder, folders, names in _walk(Path(top)):
            within = folder.relative_to(top).parts
            found += [str(folder / name) for name in (*folders, *names) if _fits((*within, name), parts[at:])]
    return found


def _fits(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether names below a folder fit a pattern in which ** stands for any number of folders."""

    @cache
    def fits(name_at: int, part_at: int) -> bool:
        if part_at == len(pattern):
            return name_at == len(names)
        if pattern[part_at] == "**":
            return fits(name_at, part_at + 1) or (name_at < len(names) and fits(name_at + 1, part_at))
        if name_at == len(names) or not fnmatchcase(names[name_at], pattern[part_at]):
            return False
        return fits(name_at + 1, part_at + 1)

    return fits(0, 0)


def _files_under(top: Path) -> Iterator[Path]:
    if not top.is_dir():
        yield top
        return
    unreadable: list[Path] = []
    for folder, _, names in _walk(top, unreadable):
        yield from (folder / name for name in names)
    yield from unreadable


def _walk(top: Path, unreadable: list[Path] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder with the folders and the files in it that are read, in sorted order; its own files first.

    Not os.walk, which in Python 3.11 calls itself for every level of a tree that may have two thousand.
    """
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted((entry for entry in found), key=lambda entry: entry.name)
        except OSError:
            if unreadable is not None:
                unreadable.append(folder)
            continue
        if _is_own(folder, [entry.name for entry in entries]):
            continue
        skipped = _CARDS if _is_data_set({entry.name for entry in entries}) else set()
        read = [entry for entry in entries if is_read(entry.name) and entry.name not in skipped]
        folders = [entry.name for entry in read if _is_folder(entry) and not entry.is_symlink()]
        yield folder, folders, [entry.name for entry in read if not _is_folder(entry)]
        waiting += [folder / name for name in reversed(folders)]


def _is_data_set(names: set[str]) -> bool:
    return "dataset_dict.json" in names or len(names & _CARDS) == 2


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_own(folder: Path, names: list[str]) -> bool:
    """Return whether a folder is a run of headwater's or one of its stages."""
    return any(_OWN_FORMAT in _head(folder / name) for name in ("config.json", "manifest.json") if name in names)


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with open(path, "rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def is_read(name: str) -> bool:
    """Return whether a file or folder of this name is read: hidden ones and what tools keep beside sources are not."""
    return not name.startswith(".") and name not in NOT_READ
