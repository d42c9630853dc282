"""A process of headwater's own: how it is started and ended, the messages to it and from it, and what it may take.

Messages are JSON, a line each; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

MAX_BYTES = 1 << 28  # a section of a document is far smaller; a longer line is none of ours

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # json.dumps would make one a message
_BLOCK_BYTES = 1 << 20
_ERROR_BYTES = 4000
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


class Child:
    """A process started with `python -m MODULE`."""

    def __init__(
        self,
        module: str,
        environment: dict[str, str] | None = None,
        folder: str | None = None,
        handles: Sequence[int] = (),
    ) -> None:
        """Start it with open files of ours. Raises OSError where it can't be started."""
        self._buffer, self._taken, self._searched = bytearray(), 0, 0
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-B", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                cwd=folder,
                bufsize=0,
                pass_fds=handles,
                start_new_session=True,  # Ctrl-C is for the process that started this one, and ends it
            )
        except OSError:
            self._errors.close()
            raise
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.handle, self.pid = self._from.fileno(), self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; BrokenPipeError where the process is no more."""
        self._to.write(pack(message))

    def read(self) -> bool:
        """Take up what the process says, once no message is left; return whether its pipe is open."""
        data = os.read(self.handle, _BLOCK_BYTES)
        del self._buffer[: self._taken]
        self._taken, self._searched = 0, len(self._buffer)  # a long line comes in a thousand pieces
        self._buffer += data
        return bool(data)

    def next_message(self) -> dict[str, Any] | None:
        """Return the next message of what was read, None where it isn't whole. Raises BadFrame."""
        start, end = self._taken, self._buffer.find(b"\n", max(self._taken, self._searched))
        if end >= 0:
            self._taken = end + 1
            return unpack(bytes(self._buffer[start:end]))
        if len(self._buffer) > MAX_BYTES:
            raise BadFrame
        return None

    def exit_status(self) -> int | None:
        """Return how the process, whose pipe is closed, ended; None where it lives on."""
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return None

    def last_error(self) -> str:
        """Return the last line that the process wrote to its standard error."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _ERROR_BYTES))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        self._process.kill()  # also one that is stopped
        self._process.wait()
        for file in (self._to, self._from, self._errors):
            file.close()
