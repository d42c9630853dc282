"""A plan of faults: what happens at operation number K of this process on its disk, counted from 1.

    crash@K            the process ends before the operation, as by SIGKILL
    torn@K             half of what operation K writes reaches the file, then the process ends
    errno=ENOSPC@K     the operation fails with this error
    short@K            a write takes half of the bytes and says so
    flip@K             one bit of what is written is another
    delay=SECONDS@K    the operation waits first

`@K+` means operation K and every later one; a comma joins several. torn, short and flip are nothing to an operation
that doesn't write.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from headwater.core.disk import Write, install

CRASHED = 137  # the status of a process that SIGKILL ended, as shells say it
_FAULT = re.compile(r"(crash|torn|short|flip|errno|delay)(?:=([^@]+))?@(\d+)(\+?)")
_NAMELESS = ("write", "sync", "truncate")  # what the system's errors of these operations don't name: the file


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
        """Return the plan that `text` writes down; "" counts alone. Raises ValueError for what isn't a fault."""
        return cls(tuple(_parse_fault(part.strip()) for part in text.split(",") if part.strip()))

    @property
    def keeps_bytes(self) -> bool:
        return self.journal is not None

    def begin(self, kind: str, path: str, details: tuple[Any, ...]) -> Callable[[Write, memoryview], int] | None:
        """Count an operation and let its faults happen; return what a write does instead, where one is of that kind."""
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
                acted = partial(write_wrongly, fault.kind)
        return acted


def _parse_fault(text: str) -> Fault:
    found = _FAULT.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no fault; write crash@17, torn@17, errno=ENOSPC@17+ or flip@9")
    kind, value, number, lasting = found.groups()
    error = getattr(errno, value or "", None) if kind == "errno" else 0
    try:
        seconds = float(value) if kind == "delay" else 0.0
    except (TypeError, ValueError):
        error = None
    if error is None or (value is not None) != (kind in ("errno", "delay")):
        raise ValueError(f"{text!r} is no fault: errno takes a name as errno=ENOSPC@1, delay takes seconds")
    return Fault(kind, int(number), bool(lasting), error, seconds)


@contextmanager
def faults(text: str) -> Iterator[FaultPlan]:
    """Let a plan hold within the block."""
    plan = FaultPlan.parse(text)
    install(plan)
    try:
        yield plan
    finally:
        install(None)


def status_under(text: str, work: Callable[[], object]) -> int:
    """Do the work under a plan in a fork of this process, and return with which status that ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, of which the child needs none
        child = os.fork()
    if child == 0:
        try:
            install(FaultPlan.parse(text))
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(text: str, work: Callable[[], object]) -> None:
    """Do the work in a fork that crashes at a point of its plan, or by itself."""
    assert status_under(text, work) == CRASHED, f"{text} was not reached"


def write_wrongly(kind: str, write: Write, view: memoryview) -> int:
    half = len(view) // 2
    if kind == "flip" and len(view):
        changed = bytearray(view)
        changed[half] ^= 1 << (half % 8)
        return write(bytes(changed))
    taken = write(bytes(view[:half])) if half else 0
    if kind == "torn":
        os._exit(CRASHED)
    return taken if half else write(bytes(view))  # a write that takes nothing would be tried for ever
