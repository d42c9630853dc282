"""Every operation that changes the disk: counted, and made to fail where a test asks for it.

A fault plan says what happens at operation number K of this process, counted from 1. The command line takes one from
the environment, for tests alone: HEADWATER_FAULTS=crash@17.

    crash@K            the process ends before the operation, as by SIGKILL
    torn@K             half of what operation K writes reaches the file, then the process ends
    errno=ENOSPC@K     the operation fails with this error
    short@K            a write takes half of the bytes and says so
    flip@K             one bit of what is written is another
    delay=SECONDS@K    the operation waits first

`@K+` means operation K and every later one; a comma joins several. torn, short and flip are nothing to an operation
that doesn't write. Without a plan an operation costs one comparison more than the system's call.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from headwater.errors import ConfigError

CRASHED = 137  # the status of a process that SIGKILL ended, as shells say it
BUFFER_BYTES = 1 << 16  # not Python's default, which differs between versions: operations are counted
_FAULT = re.compile(r"(crash|torn|short|flip|errno|delay)(?:=([^@]+))?@(\d+)(\+?)")
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100
_NAMELESS = ("write", "sync", "truncate")  # what the system's errors of these operations don't name: the file
_NO_SECOND_NAME = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_CAN_NOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Fault:
    """What happens at one operation, or, with `is_lasting`, at that one and all later ones."""

    kind: str
    number: int
    is_lasting: bool = False
    error: int = 0
    seconds: float = 0.0

    def concerns(self, number: int) -> bool:
        return number == self.number or (self.is_lasting and number > self.number)


@dataclass
class FaultPlan:
    """The faults to come, and the kind of every operation so far.

    With a `journal`, every operation is written there whole, so that what it did can be done again elsewhere: its kind,
    its path, and a target, a size, or the place and the bytes of a write.
    """

    faults: tuple[Fault, ...] = ()
    operations: list[str] = field(default_factory=list)
    journal: list[tuple[Any, ...]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def parse(cls, text: str) -> FaultPlan:
        """Return the plan that `text` writes down; "" counts alone. Raises ConfigError for what isn't a fault."""
        return cls(tuple(_parse_fault(part.strip()) for part in text.split(",") if part.strip()))

    def begin(self, kind: str, path: str, details: tuple[Any, ...]) -> Fault | None:
        """Count an operation and let its faults happen; return one that the writing itself must act out."""
        with self._lock:
            self.operations.append(kind)
            if self.journal is not None:
                self.journal.append((kind, path, *details))
            number = len(self.operations)
        acted = None
        for fault in self.faults:
            if not fault.concerns(number):
                continue
            if fault.kind == "crash":
                os._exit(CRASHED)
            if fault.kind == "errno":
                raise OSError(fault.error, os.strerror(fault.error), None if kind in _NAMELESS else path)
            if fault.kind == "delay":
                time.sleep(fault.seconds)
            else:
                acted = fault
        return acted


def _parse_fault(text: str) -> Fault:
    found = _FAULT.fullmatch(text)
    if not found:
        raise ConfigError(f"HEADWATER_FAULTS has {text!r}; write crash@17, torn@17, errno=ENOSPC@17+ or flip@9")
    kind, value, number, lasting = found.groups()
    error = getattr(errno, value or "", None) if kind == "errno" else 0
    try:
        seconds = float(value) if kind == "delay" else 0.0
    except (TypeError, ValueError):
        error = None
    if error is None or (value is not None) != (kind in ("errno", "delay")):
        raise ConfigError(f"HEADWATER_FAULTS has {text!r}: errno takes a name as errno=ENOSPC@1, delay takes seconds")
    return Fault(kind, int(number), bool(lasting), error, seconds)


# module-level, unlike anything else here: a process has one disk, and what no caller passes no caller can forget
_plan: FaultPlan | None = None


def install(plan: FaultPlan | None) -> None:
    """Let all operations of this process from here on be counted by `plan`, or by none."""
    global _plan
    _plan = plan


@contextmanager
def faults(text: str) -> Iterator[FaultPlan]:
    """Let a plan hold within the block."""
    plan = FaultPlan.parse(text)
    install(plan)
    try:
        yield plan
    finally:
        install(None)


def _begin(kind: str, path: object, *details: Any) -> Fault | None:
    return None if _plan is None else _plan.begin(kind, str(path), details)


class _File(io.FileIO):
    """A file whose writes are operations."""

    def write(self, data: object) -> int:  # type: ignore[override]
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        fault = _begin("write", self.name, *self._details(view))
        return super().write(view) if fault is None else _write_wrongly(super().write, view, fault.kind)

    def truncate(self, size: int | None = None) -> int:
        _begin("truncate", self.name, size)
        return super().truncate(size)

    def _details(self, view: memoryview) -> tuple[Any, ...]:
        if _plan is None or _plan.journal is None:
            return ()
        return os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell(), bytes(view)


def _write_wrongly(write: Callable[[bytes], int], view: memoryview, kind: str) -> int:
    half = len(view) // 2
    if kind == "flip" and len(view):
        changed = bytearray(view)
        changed[half] ^= 1 << (half % 8)
        return write(bytes(changed))
    taken = write(bytes(view[:half])) if half else 0
    if kind == "torn":
        os._exit(CRASHED)
    return taken if half else write(bytes(view))  # a write that takes nothing would be tried for ever


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

    taken = write(data) if fault is None else _write_wrongly(write, memoryview(data), fault.kind)
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
    _begin("rmdir", path)
    with suppress(FileNotFoundError):
        os.rmdir(path)
