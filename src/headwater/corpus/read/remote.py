"""Files at addresses that fsspec knows (s3://, https://, hf://, …): listed, told apart by version, read by a copy.

A file is copied to this machine's temporary folder when its turn comes and removed when it is read: never more than
one a process. What fails in passing is tried again (core.stores), and then the task waits (engine.engine).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from headwater.core.errors import DataError
from headwater.core.files import create, remove_file
from headwater.core.stores import open_store, refuse_secrets, retried
from headwater.corpus.read.input import BLOCK_BYTES
from headwater.corpus.sources.formats import skip_reason

_RANGE = re.compile(r"(.+)#bytes=(\d{1,18})-(\d{1,18})", re.DOTALL)
_PATTERN = re.compile(r"[*?\[]")
_VERSIONS = ("ETag", "etag", "LastModified", "mtime", "last_modified", "created", "sha256", "blob_id", "size")


def range_of_bytes(address: str, at: int, length: int) -> str:
    """Return the address of `length` bytes of a file, from byte `at` on, which is read and named as a file is."""
    return f"{address}#bytes={at}-{at + length}"


def _without_range(address: str) -> tuple[str, int, int]:
    """Return an address, and of a range its first byte and the one behind it; 0 and 0 of a whole file."""
    found = _RANGE.fullmatch(address)
    return (found[1], int(found[2]), int(found[3])) if found else (address, 0, 0)


def find_addresses(given: str, setting: str) -> list[tuple[str, str]]:
    """Return the addresses of the files that an address, a pattern or a folder of one names, in sorted order.

    Beside each stands "", or why it is skipped: the names skipped below folders are those skipped here (read.walk).
    `setting` is what gave the address, for messages. Raises DataError for what can't be reached or names nothing.
    """
    refuse_secrets(given, setting)

    def listed() -> list[tuple[str, str]]:
        store, path = open_store(given)
        is_web = urlsplit(given).scheme.lower() in ("http", "https")
        if not is_web and _PATTERN.search(path):
            found = {name: "" for name in store.glob(path) if not store.isdir(name)}
        elif is_web or store.isfile(path):
            found = {path: ""}
        else:
            found = dict(_below(name, path) for name in store.find(path))
        return sorted((store.unstrip_protocol(name), reason) for name, reason in found.items())

    addresses = retried(listed, given, setting)
    if not addresses:
        raise DataError(f"{setting}: no file at {given!r}; correct it")
    return addresses


def _below(name: str, top: str) -> tuple[str, str]:
    """Return a file below `top` and "", or the first name on the way to it that is skipped and why."""
    path, start = PurePosixPath(name), len(PurePosixPath(top).parts)
    for at, part in enumerate(path.parts[start:], start + 1):
        if reason := skip_reason(part):
            return str(PurePosixPath(*path.parts[:at])), reason
    return name, ""


def version_of(address: str, setting: str) -> str:
    """Return what the store says of a file that changes when its content does: its ETag, time and size.

    Of a range nothing is asked: a list names millions, of files that are published once.
    """
    if _without_range(address)[2]:
        return ""
    info = retried(lambda: _info(address), address, setting)
    return " ".join(f"{name}={info[name]}" for name in _VERSIONS if info.get(name) is not None)


def size_of(address: str, setting: str) -> int:
    """Return the bytes of a file or range, 0 where its store doesn't say."""
    _, start, end = _without_range(address)
    if end:
        return end - start
    return int(retried(lambda: _info(address), address, setting).get("size") or 0)


def _info(address: str) -> dict[str, Any]:
    store, path = open_store(address)
    # without it the hub says nothing of a file that changes with its content
    options = {"expand_info": True} if urlsplit(address).scheme.lower() == "hf" else {}
    return dict(store.info(path, **options))


@contextmanager
def copied(address: str, setting: str) -> Iterator[Path]:
    """Yield a copy of a file under its own name, in a folder that is removed afterwards.

    Raises DataError if it can't be read, PassingError if that may pass: what is listed and isn't there must not be
    missing from a corpus in silence.
    """
    name = PurePosixPath(urlsplit(address).path).name or "file"
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        path = Path(folder) / name[-200:]
        size, free = size_of(address, setting), shutil.disk_usage(folder).free
        if size > free:
            raise DataError(
                f"{setting}: {address} has {size:,} bytes and {folder} has room for {free:,}; set TMPDIR to a folder "
                "on a larger disk"
            )
        retried(lambda: _copy(address, path, size), address, setting)
        yield path


def _copy(address: str, path: Path, size: int) -> None:
    """Copy a file from its beginning; raise OSError where fewer bytes came than its store says it has."""
    whole, start, end = _without_range(address)
    store, remote = open_store(whole)
    remove_file(path)  # of an earlier try
    with (
        BytesIO(store.cat_file(remote, start, end)) if end else store.open(remote, "rb") as stream,
        create(path) as file,
    ):
        shutil.copyfileobj(stream, file, BLOCK_BYTES)
    if path.stat().st_size < size:
        raise OSError(f"{path.stat().st_size:,} bytes came of {size:,}")
    if end and path.stat().st_size > size:
        raise DataError(f"{address}: its server gives whole files and no ranges of them; name files in paths_file")
