"""Messages between headwater and a process of its own, and what that may take.

Messages are JSON, a line each; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 28  # a section of a document is far smaller; a longer line is none of ours

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps would make one a message
OUT_OF_MEMORY = 112  # exit status: memory may be in any state then, so a new process is started


class BadFrame(Exception):
    """What arrived is no message."""


def pack(value: dict[str, Any]) -> bytes:
    # the name of a file, or a title, may hold half a surrogate pair
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass") + b"\n"


def unpack(line: bytes) -> dict[str, Any]:
    """Return the message in a line; raises BadFrame."""
    try:
        value = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise BadFrame from None
    if not isinstance(value, dict):
        raise BadFrame
    return value


def receive() -> dict[str, Any]:
    """Return the next message of the standard input; EOFError at its end."""
    line = sys.stdin.buffer.readline(MAX_BYTES)
    if not line.endswith(b"\n"):
        raise EOFError
    return unpack(line)


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
