"""Messages between headwater and a process of its own: JSON, a line each. Nothing is ever unpickled."""

from __future__ import annotations

import json
import sys
from typing import Any

MAX_BYTES = 1 << 28  # a section of a document is far smaller; a longer line is none of ours

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps would make one a message


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
