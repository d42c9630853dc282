"""Messages between headwater and a process of its own: JSON behind its length in bytes. Nothing is ever unpickled.

And what such a process does with itself: it takes messages from its standard input, and no more memory than it is told.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

HEADER_BYTES = 4
MAX_BYTES = 1 << 28  # a section of a document is far smaller; a larger message is none of ours
OUT_OF_MEMORY = 112  # exit status: memory may be in any state then, so a new process is started


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps would make one a message


class BadFrame(Exception):
    """What arrived is no message."""


def pack(value: dict[str, Any]) -> bytes:
    # the name of a file, or a title, may hold half a surrogate pair
    data = _ENCODER.encode(value).encode("utf-8", "surrogatepass")
    return len(data).to_bytes(HEADER_BYTES, "big") + data


def unpack(read_exactly: Callable[[int], bytes]) -> dict[str, Any]:
    """Return the next message of a stream; raises BadFrame, and what `read_exactly` raises at the end of the stream."""
    size = int.from_bytes(read_exactly(HEADER_BYTES), "big")
    if size > MAX_BYTES:
        raise BadFrame
    try:
        value = json.loads(read_exactly(size).decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise BadFrame from None
    if not isinstance(value, dict):
        raise BadFrame
    return value


def receive() -> dict[str, Any]:
    """Return the next message of the standard input; EOFError at its end."""
    return unpack(_from_input)


def _from_input(count: int) -> bytes:
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        raise EOFError
    return data


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
