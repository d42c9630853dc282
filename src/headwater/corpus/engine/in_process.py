"""The tasks one after another in this process: for a corpus of one part, where another process would gain nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from headwater.corpus.engine.interface import Listener
from headwater.corpus.tasks.run import run_task
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext


class InProcess:
    """An engine that is this process."""

    def __init__(self, folder: Path) -> None:
        self._context = WorkerContext(folder)

    def run(self, tasks: Sequence[Task], listener: Listener) -> None:
        self._context.on_read = listener.read
        for task in tasks:
            run_task(self._context, task)
            listener.done(task)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
