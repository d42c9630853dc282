"""Stores that fsspec knows (s3://, file://, hf://, …): opened by address, read and written in whole objects.

What a network or a store fails at in passing (503, a reset, no answer in time) is tried again, later each time; after a
minute of that it is a PassingError, and who asked may wait. Credentials come from the environment, as each store's own
library reads them; an address that holds some is refused without being repeated.
"""

from __future__ import annotations

import errno
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import urlsplit
from uuid import uuid4

from headwater.core.errors import DataError, PassingError
from headwater.core.files import digest_bytes, digest_file

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_SECRET = re.compile(
    r"[?&](?:sig|sas|auth|[^=&]*(?:signature|token|credential|secret|password|key)[^=&]*)=", re.IGNORECASE
)
WAIT_SECONDS = (1, 2, 4, 8, 16, 32)  # before each further try
NO_DATA_SECONDS = 60.0  # in which a server that lives says something
_PASSING = (408, 425, 429)  # status of an answer that asks for another try, as those from 500 on do
_LASTING = (errno.ECONNREFUSED, socket.EAI_NONAME, errno.ENOSPC, errno.EDQUOT)
_FEW, _AT_ONCE = 8, 16  # more objects than a few are asked for at once: each answer takes its time
_NO_CREDENTIALS = re.compile("Credential|Profile|Token|Validation|NoRegion")  # in names of botocore's errors that last
_USERS = ("abfs", "abfss", "wasb", "wasbs")  # of which a name before @ is a container
_NEEDS = {"s3": "s3", "s3a": "s3", "http": "s3", "https": "s3"}
T = TypeVar("T")
Item = TypeVar("Item")


def is_address(text: str) -> bool:
    """Return whether a path of the settings, or an origin, is an address."""
    return _ADDRESS.match(text) is not None


def open_store(address: str, **options: Any) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the path there."""
    import fsspec

    if urlsplit(address).scheme.lower() in ("http", "https"):
        with suppress(ImportError):  # said when the store is opened
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=NO_DATA_SECONDS, sock_read=NO_DATA_SECONDS)
            options["client_kwargs"] = {"timeout": timeout}
    store, path = fsspec.core.url_to_fs(address, **options)
    return store, path


class Store:
    """Objects below an address, by names relative to it. `setting` is what gave the address, for messages.

    An object appears whole, on a disk of another machine, too.
    """

    def __init__(self, address: str, setting: str) -> None:
        refuse_secrets(address, setting)
        self.address, self._setting = address.rstrip("/"), setting
        self._is_disk = urlsplit(address).scheme.lower() in ("file", "local")
        options: dict[str, Any] = {"auto_mkdir": True} if self._is_disk else {}

        def opened() -> tuple[Any, str]:
            return open_store(self.address, use_listings_cache=False, **options)

        self._fs, top = retried(opened, self.address, setting)
        self._top = top.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._top}/{name}"

    def _retried(self, action: Callable[[], T], name: str) -> T:
        return retried(action, f"{self.address}/{name}", self._setting)

    def has(self, name: str) -> bool:
        def found() -> bool:
            with suppress(FileNotFoundError):
                self._fs.info(self._path(name))
                return True
            return False

        return self._retried(found, name)

    def names(self, folder: str) -> list[str]:
        """Return the names of all objects below a folder; none where it isn't there."""
        found = self._retried(lambda: self._fs.find(self._path(folder)), folder)
        return [str(path)[len(self._top) + 1 :] for path in found]

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        return bytes(self._retried(lambda: self._fs.cat_file(self._path(name), start, end), name))

    def read_whole(self, name: str, digest: str) -> bytes:
        """Return what an object holds; raise DataError where it isn't of this digest."""
        data = self.read(name)
        self._require(digest_bytes(data) == digest, name)
        return data

    def _require(self, is_whole: bool, name: str) -> None:
        if not is_whole:
            raise DataError(
                f"{self.address}/{name} is damaged: its digest isn't that of what was written; remove it, and all that "
                "was made with it, and give the same command again"
            )

    def open_whole(self, name: str, digest: str, temporary: Path | None = None) -> IO[bytes]:
        """Return a copy of an object, checked, which is gone when it is closed; it is made in a folder for such."""
        import pyarrow

        with tempfile.TemporaryDirectory(prefix="headwater-", dir=temporary) as folder:
            path = Path(folder) / "object"
            self._retried(lambda: self._fs.get_file(self._path(name), str(path)), name)
            self._require(digest_file(path) == digest, name)
            return cast(IO[bytes], pyarrow.memory_map(str(path)))

    def open_ranges(self, name: str, size: int) -> IO[bytes]:
        """Return an object of this size as a file; each read asks the store for these bytes alone."""
        return cast(IO[bytes], _Ranges(lambda start, end: self.read(name, start, end), size))

    def put(self, path: Path, name: str) -> None:
        target = self._path(name)

        def sent() -> None:
            if not self._is_disk:
                self._fs.put_file(str(path), target)
                return
            unfinished = f"{target}.{uuid4().hex}"
            self._fs.put_file(str(path), unfinished)
            self._fs.mv(unfinished, target)

        self._retried(sent, name)

    def write(self, name: str, data: bytes) -> None:
        self._retried(lambda: self._fs.pipe_file(self._path(name), data), name)

    def copy(self, name: str, target: str) -> None:
        """Give an object a second name, which the store does by itself."""
        self._retried(lambda: self._fs.cp_file(self._path(name), self._path(target)), name)

    def remove(self, name: str) -> None:
        """Remove an object that may be missing."""

        def removed() -> None:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._path(name))

        self._retried(removed, name)


class _Ranges(RawIOBase):
    """A file of which each read is a request."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size, self._at = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        data = self._read(self._at, end) if self._at < end else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def each_of(items: Iterable[Item], action: Callable[[Item], object]) -> None:
    """Do an action with each item, with several at once where there are many."""
    listed = list(items)
    if len(listed) <= _FEW:
        for item in listed:
            action(item)
        return
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(action, listed):
            pass


def retried(action: Callable[[], T], address: str, setting: str) -> T:
    """Return what an action gives, tried again after what may pass; raise DataError for what doesn't."""
    for seconds in (*WAIT_SECONDS, None):
        try:
            return action()
        except MemoryError:
            raise
        except Exception as error:
            cause = _cause(error, address)
            if not _may_pass(cause):
                raise _explained(error, address, setting) from None
            if seconds is None:
                tries = f"{len(WAIT_SECONDS) + 1} tries in {sum(WAIT_SECONDS)} s"
                raise PassingError(f"{setting}: {address} can't be reached, {tries}: {_first_line(cause)}") from None
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
    of_code = (TypeError, AttributeError, LookupError, NotImplementedError)
    if _NO_CREDENTIALS.search(type(error).__name__):
        return False
    return not isinstance(error, (*lasting, *of_code)) and getattr(error, "errno", None) not in _LASTING


def refuse_secrets(address: str, setting: str) -> None:
    """Raise DataError for an address that holds credentials."""
    parts = urlsplit(address)
    user = parts.netloc.rpartition("@")[0]
    if (user and (":" in user or parts.scheme.lower() not in _USERS)) or _SECRET.search(address):
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
    elif isinstance(error, PermissionError) or _NO_CREDENTIALS.search(type(error).__name__):
        what = ": access is refused, or nothing says who asks; check the credentials in the environment"
    elif "Protocol not known" in str(error):
        what = f": {scheme}:// is no kind of address that fsspec knows; correct it"
    return DataError(f"{setting}: {address}{what}")


def _first_line(error: BaseException) -> str:
    """Return the kind of an error and its first line, without what may be a secret."""
    line = str(error).strip().split("\n")[0][:200]
    return f"{type(error).__name__}: {line}" if line and not _SECRET.search(line) else type(error).__name__
