"""A process of headwater's own, as the one sees it that started it: messages to it and from it, and how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import IO, Any

from headwater.corpus.read.processes import MAX_BYTES, BadFrame, pack, unpack

_BLOCK_BYTES = 1 << 20
_ERROR_BYTES = 4000


class Child:
    """A process started with `python -m MODULE`."""

    def __init__(self, module: str, environment: dict[str, str] | None = None, folder: str | None = None) -> None:
        """Raises OSError where it can't be started."""
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
