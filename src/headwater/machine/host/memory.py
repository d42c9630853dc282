"""How much memory this process holds and may ask for, how it keeps what it has been given, and when Python collects
garbage: where training pauses, not in the middle of a step. No torch.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headwater.machine.host.facts import memory_bytes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
LARGEST_HEAP_BLOCK, NEVER = 1 << 30, (1 << 31) - 1


def available_bytes() -> int:
    """Return how much memory processes may still ask for; all there is where the system doesn't say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return memory_bytes()


def resident_bytes() -> int:
    """Return how much memory this process holds; 0 where the system doesn't say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def peak_bytes() -> int:
    """Return the most memory this process has held at any time of its life."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class PeakMeter:
    """The most memory this process holds from construction on."""

    def __init__(self) -> None:
        self._before = peak_bytes()

    def peak(self) -> int | None:
        """Return bytes; None where the process had held more before."""
        peak = peak_bytes()
        return peak if peak > self._before else None


def give_back_freed_memory() -> None:
    """Have the C library give the system all whole pages of freed blocks; without glibc nothing is done."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def keep_freed_memory() -> None:
    """Have the C library keep freed blocks for the next step instead of giving them back to the system.

    A step frees and asks for the same activations again; a page that has been given back must be zeroed again (about
    4 µs each on a virtual machine, decision 8). Without glibc, or with one that refuses so high a threshold, nothing is
    changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and mallopt(M_MMAP_THRESHOLD, LARGEST_HEAP_BLOCK):
        # only then: alone it would end the C library's own raising of the first threshold
        mallopt(M_TRIM_THRESHOLD, NEVER)


@contextmanager
def collected_on_request() -> Iterator[None]:
    """Collect nothing by itself, inside: the caller does so where there is time, by gc.collect.

    By itself it stops a thread whenever so many objects were made, and on many ranks each at another moment, while
    the others wait. What is there already is never looked at again, inside.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()
