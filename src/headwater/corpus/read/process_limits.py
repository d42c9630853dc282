"""What a process of headwater's own may take: memory, time, files, as it sets them for itself."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

OUT_OF_MEMORY = 112  # exit status: memory may be in any state then, so a new process is started


def limit_(which: int, soft: int) -> None:
    """Set a limit of this process as far as it may; one that is lower already stays."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        soft = hard
    with suppress(OSError, ValueError):
        resource.setrlimit(which, (soft, hard))


def limit_memory_(memory_bytes: int) -> None:
    """Let this process take `memory_bytes` more than it has."""
    with suppress(OSError):  # where there is no /proc the system has no such limit, either
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit_(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
