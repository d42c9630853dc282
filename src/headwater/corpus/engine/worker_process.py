"""One worker, as the process sees it that gives it tasks: its pipes, what it does, when it was last heard of."""

from __future__ import annotations

import signal
import tempfile
from typing import Any

from headwater.core.files import make_folder
from headwater.corpus.engine.tasks import Task, TaskSet
from headwater.corpus.engine.workers import Worker
from headwater.corpus.read.processes import OUT_OF_MEMORY, BadFrame, Child
from headwater.corpus.sources.settings import EngineSettings

_MODULE = "headwater.corpus.engine.worker"
_TEMPORARY = "temporary"  # in the set's folder: what a lost worker leaves there goes, at the latest with the next build


class WorkerProcess(Worker):
    """A process started with `python -m headwater.corpus.engine.worker`."""

    def __init__(self, task_set: TaskSet, memory_bytes: int, now: float) -> None:
        super().__init__(now)
        self.heard_at = now
        self._memory_bytes = memory_bytes
        self._is_gone = False
        make_folder(task_set.folder / _TEMPORARY)
        self._temporary = tempfile.TemporaryDirectory(dir=task_set.folder / _TEMPORARY, ignore_cleanup_errors=True)
        self._child = Child(_MODULE)
        self.handle, self.pid = self._child.handle, self._child.pid
        place = {"memory_bytes": memory_bytes, "temporary": self._temporary.name}
        self._send({"maker": task_set.maker, "given": task_set.given, **place})

    def give(self, task: Task, now: float) -> None:
        super().give(task, now)
        self._send({"stage": task.stage, "number": task.number})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._child.send(message)
        except BrokenPipeError:
            self._is_gone = True

    def listen(self, now: float) -> None:
        """Take up what the worker says; call it when there is something to read.

        Raises the error that a task raised when the user can act on it.
        """
        self.heard_at = now
        self._is_gone |= not self._child.read()
        try:
            while (message := self._child.next_message()) is not None:
                self.take_up(message)
        except BadFrame:
            self._is_gone = True

    def why_lost(self, settings: EngineSettings, now: float) -> str | None:
        if self._is_gone:
            return self._why_gone()
        if now - self.heard_at > settings.silent_seconds:
            return f"its process gave no sign of life for {settings.silent_seconds:g} seconds"
        return super().why_lost(settings, now)

    def _why_gone(self) -> str:
        status = self._child.exit_status()
        if status is None:
            return "its process closed its pipe"
        if status == OUT_OF_MEMORY:
            return f"it took more than {self._memory_bytes / 1e6:,.0f} MB of memory"
        if status < 0:
            return f"its process was ended by {signal.strsignal(-status) or f'signal {-status}'}"
        return f"its process ended with status {status}: {self._child.last_error() or 'it said nothing'}"

    def end(self) -> None:
        self._child.close()
        self._temporary.cleanup()
