"""Messages between headwater and a process of its own: JSON behind its length in bytes. Nothing is ever unpickled."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

HEADER_BYTES = 4
MAX_BYTES = 1 << 28  # a section of a document is far smaller; a larger message is none of ours


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
