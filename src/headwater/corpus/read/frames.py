"""Messages between headwater and a process of its own: JSON behind its length in bytes. Nothing is ever unpickled."""

from __future__ import annotations

import json
import sys
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


def size_of(header: bytes | bytearray) -> int:
    """Return the bytes of the message behind a header; raises BadFrame."""
    size = int.from_bytes(header, "big")
    if size > MAX_BYTES:
        raise BadFrame
    return size


def unpack(data: bytes) -> dict[str, Any]:
    """Return the message without its header; raises BadFrame."""
    try:
        value = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise BadFrame from None
    if not isinstance(value, dict):
        raise BadFrame
    return value


def receive() -> dict[str, Any]:
    """Return the next message of the standard input; EOFError at its end."""
    return unpack(_read(size_of(_read(HEADER_BYTES))))


def _read(count: int) -> bytes:
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        raise EOFError
    return data
