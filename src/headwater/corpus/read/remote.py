"""Files at addresses that fsspec knows (s3://, https://, hf://, …): listed, told apart by version, read by a copy.

A file is copied to this machine's temporary folder when its turn comes and removed when it is read: never more than
one a process. What a network or a store fails at in passing (503, a reset, no answer in time) is tried again, later
each time; after a minute of that it is a PassingError, and its task waits (engine.failures). Credentials come from the
environment, as each store's own library reads them; an address that holds some is refused without being repeated.
"""

from __future__ import annotations

import errno
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from headwater.core.errors import DataError, PassingError
from headwater.core.files import create, remove_file
from headwater.corpus.read.input import BLOCK_BYTES
from headwater.corpus.sources.formats import skip_reason

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_SECRET = re.compile(
    r"[?&](?:sig|sas|auth|[^=&]*(?:signature|token|credential|secret|password|key)[^=&]*)=", re.IGNORECASE
)
_RANGE = re.compile(r"(.+)#bytes=(\d{1,18})-(\d{1,18})", re.DOTALL)
_PATTERN = re.compile(r"[*?\[]")
_VERSIONS = ("ETag", "etag", "LastModified", "mtime", "last_modified", "created", "sha256", "blob_id", "size")
WAIT_SECONDS = (1, 2, 4, 8, 16, 32)  # before each further try
NO_DATA_SECONDS = 60.0  # in which a server that lives says something
_PASSING = (408, 425, 429)  # status of an answer that asks for another try, as those from 500 on do
_LASTING = (errno.ECONNREFUSED, socket.EAI_NONAME, errno.ENOSPC, errno.EDQUOT)
T = TypeVar("T")
_NEEDS = {"s3": "s3", "s3a": "s3", "http": "s3", "https": "s3"}


def is_address(text: str) -> bool:
    """Return whether a path of the settings, or an origin, is an address."""
    return _ADDRESS.match(text) is not None


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
        store, path = _open_store(given)
        is_web = urlsplit(given).scheme.lower() in ("http", "https")
        if not is_web and _PATTERN.search(path):
            found = {name: "" for name in store.glob(path) if not store.isdir(name)}
        elif is_web or store.isfile(path):
            found = {path: ""}
        else:
            found = dict(_below(name, path) for name in store.find(path))
        return sorted((store.unstrip_protocol(name), reason) for name, reason in found.items())

    addresses = _retried(listed, given, setting)
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
    info = _retried(lambda: _info(address), address, setting)
    return " ".join(f"{name}={info[name]}" for name in _VERSIONS if info.get(name) is not None)


def size_of(address: str, setting: str) -> int:
    """Return the bytes of a file or range, 0 where its store doesn't say."""
    _, start, end = _without_range(address)
    if end:
        return end - start
    return int(_retried(lambda: _info(address), address, setting).get("size") or 0)


def _info(address: str) -> dict[str, Any]:
    store, path = _open_store(address)
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
        _retried(lambda: _copy(address, path, size), address, setting)
        yield path


def _copy(address: str, path: Path, size: int) -> None:
    """Copy a file from its beginning; raise OSError where fewer bytes came than its store says it has."""
    whole, start, end = _without_range(address)
    store, remote = _open_store(whole)
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


def _open_store(address: str) -> tuple[Any, str]:
    import fsspec

    options: dict[str, Any] = {}
    if urlsplit(address).scheme.lower() in ("http", "https"):
        with suppress(ImportError):  # said when the store is opened
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=NO_DATA_SECONDS, sock_read=NO_DATA_SECONDS)
            options["client_kwargs"] = {"timeout": timeout}
    store, path = fsspec.core.url_to_fs(address, **options)
    return store, path


def _retried(action: Callable[[], T], address: str, setting: str) -> T:
    """Return what an action gives, tried again after what may pass; raise DataError for what doesn't."""
    for seconds in (*WAIT_SECONDS, None):
        try:
            return action()
        except Exception as error:
            cause = _cause(error, address)
            if not _may_pass(cause):
                raise _explained(error, address, setting) from None
            if seconds is None:
                tries = f"{len(WAIT_SECONDS) + 1} tries in {sum(WAIT_SECONDS)} s"
                raise PassingError(f"{setting}: {address} can't be read, {tries}: {_first_line(cause)}") from None
        time.sleep(seconds)
    raise AssertionError("every try ends above")


def _cause(error: Exception, address: str) -> BaseException:
    """Return what happened: whatever a web server fails at, fsspec calls a missing file."""
    is_web = urlsplit(address).scheme.lower() in ("http", "https")
    return error.__cause__ if is_web and isinstance(error, FileNotFoundError) and error.__cause__ else error


def _may_pass(error: BaseException) -> bool:
    """Return whether an error is of a kind that another try may not meet."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int) and status:
        return status in _PASSING or status >= 500
    lasting = (DataError, ImportError, FileNotFoundError, PermissionError, ValueError)
    of_code = (TypeError, AttributeError, LookupError)
    return not isinstance(error, (*lasting, *of_code)) and getattr(error, "errno", None) not in _LASTING


def refuse_secrets(address: str, setting: str) -> None:
    """Raise DataError for an address that holds credentials."""
    parts = urlsplit(address)
    if "@" in parts.netloc or _SECRET.search(address):
        raise DataError(
            f"{setting}: an address of {parts.scheme}:// holds credentials, which would be kept in the "
            "corpus; give them in the environment instead"
        )


def _explained(error: Exception, address: str, setting: str) -> DataError:
    """Return what to do, in place of what a store's library raised."""
    scheme = urlsplit(address).scheme.lower()
    if isinstance(error, DataError):
        return error
    what = f" can't be reached: {_first_line(error)}"
    if isinstance(error, ImportError):
        how = f"`pip install headwater[{_NEEDS[scheme]}]`" if scheme in _NEEDS else f"what fsspec names for {scheme}://"
        what = f" can't be read without another package; install {how}"
    elif isinstance(error, FileNotFoundError):
        what = ": no such file, folder or bucket, or no answer; correct it"
    elif isinstance(error, PermissionError):
        what = ": access is refused; check the credentials in the environment"
    elif "Protocol not known" in str(error):
        what = f": {scheme}:// is no kind of address that fsspec knows; correct it"
    return DataError(f"{setting}: {address}{what}")


def _first_line(error: BaseException) -> str:
    """Return the kind of an error and its first line, without what may be a secret."""
    line = str(error).strip().split("\n")[0][:200]
    return f"{type(error).__name__}: {line}" if line and not _SECRET.search(line) else type(error).__name__
