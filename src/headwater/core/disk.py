"""Every operation that changes the disk: one module, so that a test can count operations and make any of them fail.

A test installs a plan (tests/fault_plan.py). Without one an operation costs one comparison more than the system's call.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

BUFFER_BYTES = 1 << 16  # not Python's default, which differs between versions: operations are counted
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100
_NO_SECOND_NAME = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_CAN_NOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EOPNOTSUPP)

Write = Callable[[bytes], int]
"Write bytes and return how many of them the system took."


class FaultPlan(Protocol):
    """What a test is told of each operation, and may do about it."""

    @property
    def keeps_bytes(self) -> bool:
        """Whether it wants the place and the bytes of every write."""
        ...

    def begin(self, kind: str, path: str, details: tuple[Any, ...]) -> Callable[[Write, memoryview], int] | None:
        """See an operation before it happens; return what a write does instead, or None."""
        ...


# module-level, unlike anything else here: a process has one disk, and what no caller passes no caller can forget
_plan: FaultPlan | None = None


def install(plan: FaultPlan | None) -> None:
    """Let all operations of this process from here on be counted by `plan`, or by none."""
    global _plan
    _plan = plan


def _begin(kind: str, path: object, *details: Any) -> Callable[[Write, memoryview], int] | None:
    return None if _plan is None else _plan.begin(kind, str(path), details)


class _File(io.FileIO):
    """A file whose writes are operations."""

    def write(self, data: object) -> int:  # type: ignore[override]
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        fault = _begin("write", self.name, *self._details(view))
        return super().write(view) if fault is None else fault(super().write, view)

    def truncate(self, size: int | None = None) -> int:
        _begin("truncate", self.name, size)
        return super().truncate(size)

    def _details(self, view: memoryview) -> tuple[Any, ...]:
        if _plan is None or not _plan.keeps_bytes:
            return ()
        return os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell(), bytes(view)


def open_file(path: Path, mode: str) -> IO[bytes]:
    """Open a file to write: "xb" and "x+b" make a new one."""
    _begin("open", path)
    file = _File(path, mode)
    return io.BufferedRandom(file, BUFFER_BYTES) if "+" in mode else io.BufferedWriter(file, BUFFER_BYTES)


def open_unbuffered(path: Path, mode: str) -> io.FileIO:
    """Open a file each of whose writes is one operation: "ab" appends, "r+b" changes what is there."""
    _begin("open", path)
    return _File(path, mode)


def open_lock(path: Path) -> int:
    """Open a lock file, made where it is missing, and return its handle."""
    _begin("open", path)
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def rewrite(handle: int, path: Path, data: bytes) -> None:
    """Let `data` be all that is in the open file at `path`."""
    _begin("truncate", path, 0)
    os.ftruncate(handle, 0)
    fault = _begin("write", path, 0, data)

    def write(part: bytes) -> int:
        return os.pwrite(handle, part, 0)

    taken = write(data) if fault is None else fault(write, memoryview(data))
    os.pwrite(handle, data[taken:], taken)


def sync(file: IO[bytes] | io.FileIO) -> None:
    """Flush what was written to a file, down to the device."""
    file.flush()
    _begin("sync", file.name)
    os.fsync(file.fileno())


def sync_path(path: Path) -> None:
    """Flush a file, or the entries of a folder, so that a rename in it survives a power cut."""
    _begin("sync", path)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(source: Path, target: Path) -> None:
    _begin("rename", source, target)
    os.rename(source, target)


def hard_link(source: Path, target: Path) -> None:
    """Give a file a second name; where the system has none, or no more, the file takes it instead of its own."""
    _begin("hardlink", source, target)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_SECOND_NAME:
            raise
        rename(source, target)


def exchange(first: Path, second: Path) -> None:
    """Let two folders exchange their names atomically; where the system can't, `second` is away for a moment."""
    _begin("exchange", first, second)
    if _renamed_at_once(first, second):
        return
    aside = first.with_name(f"{first.name}-aside")
    os.rename(second, aside)
    try:
        rename(first, second)
    except OSError:
        os.rename(aside, second)
        raise
    rename(aside, first)


def _renamed_at_once(first: Path, second: Path) -> bool:
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if swap is None:
        return False
    if swap(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    found = ctypes.get_errno()
    if found in _CAN_NOT_EXCHANGE:
        return False
    raise OSError(found, os.strerror(found), str(second))


def make_folder(path: Path) -> None:
    """Make one folder; an existing one is an error."""
    _begin("mkdir", path)
    os.mkdir(path)


def link(path: Path, target: str) -> None:
    """Make a symbolic link to a folder."""
    _begin("symlink", path, target)
    os.symlink(target, path, target_is_directory=True)


def unlink(path: Path) -> None:
    """Remove a file or a link, if it is there."""
    _begin("unlink", path)
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: Path) -> None:
    """Remove a file, or a folder with all in it; links are removed, not followed."""
    if not path.is_dir() or path.is_symlink():
        unlink(path)
        return
    for inner in list(path.iterdir()):
        remove_tree(inner)
    try:
        remove_empty_folder(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        remove_tree(path)  # another process was making a file when the folder got another name


def remove_empty_folder(path: Path) -> None:
    """Remove a folder; raise OSError where something is in it."""
    _begin("rmdir", path)
    os.rmdir(path)
