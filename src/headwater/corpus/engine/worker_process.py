"""One worker, as the process sees it that gives it tasks: its pipes, what it does, when it was last heard of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from headwater import errors
from headwater.corpus.engine.worker import OUT_OF_MEMORY
from headwater.corpus.read.frames import HEADER_BYTES, MAX_BYTES, BadFrame, pack, unpack
from headwater.corpus.tasks.work import Task
from headwater.errors import HeadwaterError
from headwater.files import make_folder
from headwater.sources.settings import EngineSettings

_MODULE = "headwater.corpus.engine.worker"
_TEMPORARY = "temporary"  # in the work folder: what a lost worker leaves there goes, at the latest with the build
_BLOCK_BYTES = 1 << 16
_ERROR_BYTES = 4000


class WorkerProcess:
    """A process started with `python -m headwater.corpus.engine.worker`; `task` is what it does now."""

    def __init__(self, folder: Path, memory_bytes: int, now: float) -> None:
        self.task: Task | None = None
        self.given_at = self.heard_at = now
        self._memory_bytes = memory_bytes
        self._buffer = bytearray()
        self._outcomes: list[tuple[Task, str | None]] = []
        self._is_gone = False
        self._num_bytes_read = self._num_bytes_reported = 0
        make_folder(folder / _TEMPORARY)
        self._temporary = tempfile.TemporaryDirectory(dir=folder / _TEMPORARY, ignore_cleanup_errors=True)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-B", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for this process, which ends the worker itself
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self.handle = self._process.stdin, self._process.stdout.fileno()
        self._send({"folder": str(folder), "memory_bytes": memory_bytes, "temporary": self._temporary.name})

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, task: Task, now: float) -> None:
        self.task, self.given_at = task, now
        self._send({"stage": task.stage, "number": task.number})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._to.write(pack(message))
        except BrokenPipeError:
            self._is_gone = True

    def listen(self, now: float) -> None:
        """Take up what the worker says; call it when there is something to read.

        Raises the error that a task raised when the user can act on it.
        """
        data = os.read(self.handle, _BLOCK_BYTES)
        self.heard_at = now
        self._is_gone |= not data
        self._buffer += data
        try:
            while (message := self._next_message()) is not None:
                self._take_up(message)
        except BadFrame:
            self._is_gone = True

    def _next_message(self) -> dict[str, Any] | None:
        size = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
        if size > MAX_BYTES:
            raise BadFrame
        if len(self._buffer) < HEADER_BYTES + size or not self._buffer:
            return None
        frame = iter((bytes(self._buffer[:HEADER_BYTES]), bytes(self._buffer[HEADER_BYTES : HEADER_BYTES + size])))
        del self._buffer[: HEADER_BYTES + size]
        return unpack(lambda count: next(frame))

    def _take_up(self, message: dict[str, Any]) -> None:
        self._num_bytes_read = message.get("read", self._num_bytes_read)
        if "error" in message:
            name, text = message["error"]
            kind = getattr(errors, name, HeadwaterError)
            raise kind(text)
        if "end" in message and self.task is not None:
            self._outcomes.append((self.task, message["end"]))
            self.task = None

    def taken_outcomes(self) -> list[tuple[Task, str | None]]:
        """Return the tasks that ended since the last call, each with why it failed, or None."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def taken_bytes_read(self) -> int:
        """Return how much text the worker read since the last call."""
        new, self._num_bytes_reported = self._num_bytes_read - self._num_bytes_reported, self._num_bytes_read
        return new

    def why_lost(self, settings: EngineSettings, now: float) -> str | None:
        """Return why the worker is of no more use, or None."""
        if self._is_gone:
            return self._why_gone()
        if now - self.heard_at > settings.silent_seconds:
            return f"its process gave no sign of life for {settings.silent_seconds:g} seconds"
        if self.task is not None and now - self.given_at > settings.task_seconds:
            return f"it took more than {settings.task_seconds:g} seconds"
        return None

    def _why_gone(self) -> str:
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "its process closed its pipe"
        if status == OUT_OF_MEMORY:
            return f"it took more than {self._memory_bytes / 1e6:,.0f} MB of memory"
        if status < 0:
            return f"its process was ended by {signal.strsignal(-status) or f'signal {-status}'}"
        return f"its process ended with status {status}: {self._last_error()}"

    def _last_error(self) -> str:
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _ERROR_BYTES))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def end(self) -> None:
        self._process.kill()  # also one that is stopped
        self._process.wait()
        self._to.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
        self._temporary.cleanup()
