"""The files that a source's paths name, in an order that is the same on every machine, and the names skipped there."""

from __future__ import annotations

import glob
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fsspec.utils import glob_translate

from headwater.core.errors import DataError
from headwater.core.stores import is_address
from headwater.corpus.read.remote import find_addresses
from headwater.corpus.sources.formats import skip_reason

_OWN_FORMAT = b'"format": "headwater-'
_HEAD_BYTES = 200


class ListedFile(NamedTuple):
    """A file to read, or, with the reason in `skipped`, a name that is not read.

    `origin` is the path as the settings name it, then what is below. A file elsewhere has its address for an origin;
    the path beside it names nothing here (read.remote).

    Of a large file that is read in slices only what begins from byte `start` up to `end` is read; 0 and 0: all of it.
    `num_before` lines begin before that.
    """

    path: Path
    origin: str
    skipped: str = ""
    because: str = ""
    start: int = 0
    end: int = 0
    num_before: int = 0


def find_files(paths: list[str], setting: str) -> Iterator[tuple[Path, str]]:
    """Yield the path and the origin of each file to read, once. Raises DataError as `list_files`."""
    return ((each.path, each.origin) for each in list_files(paths, setting) if not each.skipped)


def list_files(paths: list[str], setting: str) -> Iterator[ListedFile]:
    """Yield each file once, and each name that is skipped, with the reason (docs/corpus.md says what each means).

    `setting` is what gave the paths, for messages: "corpus.sources.mine.paths". Folders are read whole, links to
    folders behind the rest. Raises DataError for a path or pattern that names nothing.
    """
    names: dict[str, str] = {}  # of every real path, the name that was met first
    for given in paths:
        if is_address(given):
            for address, reason in find_addresses(given, setting):
                if address not in names:
                    names[address] = address
                    yield ListedFile(Path(address), address, reason)
            continue
        for top in _expand(given, setting):
            yield from _files_under(top, names)


def printable(path: Path) -> str:
    """Return a path as text; bytes of a name that aren't UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _expand(given: str, setting: str) -> list[Path]:
    try:
        path = Path(given).expanduser()
        if os.path.lexists(path):
            return [path]
        # of what lies in a folder that is found, too, nothing comes of it: the folder was read whole
        found = [Path(name) for name in sorted(_matches(str(path)))] if glob.has_magic(given) else []
    except (RuntimeError, ValueError) as error:  # no such user's home; a zero in the name
        raise DataError(f"{setting}: {given!r} can't be a path ({error}); correct it") from None
    if not found:
        what = "no file matches" if glob.has_magic(given) else "no such file or folder:"
        raise DataError(f"{setting}: {what} {given!r} (looked from {Path.cwd()}); give {setting}=PATH")
    return found


def _matches(pattern: str) -> list[str]:
    """Return what a pattern matches, as `glob` does, but without circles of links to folders, in which its ** runs."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return glob.glob(pattern)
    at = parts.index("**")
    fits = re.compile(glob_translate("/".join(parts[at:])))
    found = []
    for top in glob.glob(os.path.join(*parts[:at], "")) if at else ["."]:  # folders alone
        for listing in _walk(Path(top), {}):
            within = os.path.relpath(listing.folder, top)
            for name in (*(f"{name}/" for name in listing.folders), *listing.files):
                path = name if within == "." else f"{within}/{name}"
                if fits.match(path) or fits.match(path.rstrip("/")):
                    found.append(str(listing.folder / name))
    return found


def _files_under(top: Path, names: dict[str, str]) -> Iterator[ListedFile]:
    listings = _walk(top, names) if os.path.isdir(top) else [_listing_of(top, os.path.realpath(top))]
    for listing in listings:
        for path in (listing.folder / name for name in listing.files):
            # a name may be all that one may know of it: pathlib's questions then raise, those of os.path do not
            # most are no links: to follow a path from its root takes as many questions as it has folders
            real = os.path.realpath(path) if os.path.islink(path) else os.path.join(listing.real, path.name)
            is_new, again = _note(path, real, names)
            yield from [ListedFile(path, printable(path))] if is_new else again
        yield from listing.skipped


def _note(path: Path, real: str, names: dict[str, str]) -> tuple[bool, list[ListedFile]]:
    """Return whether a path is met first, and else what to say of it: nothing where it comes again under one name."""
    name = printable(path)
    if real not in names:
        names[real] = name
        return True, []
    first = names[real]
    return False, [] if first == name else [ListedFile(path, name, "already_read", f"it is {first}, too")]


class _Listing(NamedTuple):
    """A folder, without links also, with the names in it that are read, sorted, and those that aren't."""

    folder: Path
    real: str
    folders: list[str] = []
    files: list[str] = []
    skipped: list[ListedFile] = []


def _listing_of(path: Path, real: str) -> _Listing:
    """Return the listing of one path that is no folder, or none that can be listed."""
    return _Listing(path.parent, os.path.dirname(real), files=[path.name])


def _walk(top: Path, names: dict[str, str]) -> Iterator[_Listing]:
    """Yield each folder, before those in it, and links to folders last: what they lead to may lie in the tree.

    A folder that can't be listed is among the files: its reader says why. Not os.walk, which in Python 3.11 calls
    itself for every level of a tree that may have two thousand.
    """
    waiting, links = [(top, os.path.realpath(top))], deque[Path]()
    while waiting or links:
        folder, real = waiting.pop() if waiting else (links[0], os.path.realpath(links.popleft()))
        is_new, again = _note(folder, real, names)
        if not is_new:
            yield _Listing(folder, real, skipped=again)
            continue
        try:
            with os.scandir(folder) as found:
                entries = sorted((entry for entry in found), key=lambda entry: entry.name)
        except OSError:
            names.pop(real)
            yield _listing_of(folder, real)
            continue
        if _is_own(folder, {entry.name for entry in entries}):
            yield _Listing(folder, real, skipped=[ListedFile(folder, printable(folder), "own_output")])
            continue
        listing = _Listing(folder, real, [], [], [])
        inner: list[tuple[Path, str]] = []
        for entry in entries:
            reason = skip_reason(entry.name) or _loop(entry)
            if reason:
                listing.skipped.append(ListedFile(folder / entry.name, printable(folder / entry.name), reason))
            elif _is_folder(entry):
                listing.folders.append(entry.name)
                if entry.is_symlink():
                    links.append(folder / entry.name)
                else:
                    inner.append((folder / entry.name, os.path.join(real, entry.name)))
            else:
                listing.files.append(entry.name)
        yield listing
        waiting += reversed(inner)


def _loop(entry: os.DirEntry[str]) -> str:
    """Return link_loop for a link to a folder that the link lies in, else ""."""
    if not entry.is_symlink() or not _is_folder(entry):
        return ""
    folder = Path(os.path.realpath(os.path.dirname(entry.path)))
    return "link_loop" if Path(os.path.realpath(entry.path)) in (folder, *folder.parents) else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_own(folder: Path, names: set[str]) -> bool:
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
