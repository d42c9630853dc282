"""What the engines have in common that hand out tasks one by one, to processes here or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from headwater.corpus.engine.engine import Engine, Failure, Failures, Waiting
from headwater.corpus.engine.progress import Progress
from headwater.corpus.sources.settings import EngineSettings
from headwater.corpus.tasks.work import Task, Work

_POLL_SECONDS = 1.0


class Worker(Protocol):
    """Does a task at a time; `task` is what it does now."""

    task: Task | None

    @property
    def is_idle(self) -> bool: ...

    def give(self, task: Task, now: float) -> None: ...

    def taken_outcomes(self) -> list[tuple[Task, Failure | None]]:
        """Return the tasks that ended since the last call, each with why it failed, or None."""

    def taken_bytes_read(self) -> int:
        """Return how much text it read since the last call, as far as it says so."""

    def why_lost(self, settings: EngineSettings, now: float) -> str | None:
        """Return why the worker is of no more use, or None."""

    def end(self) -> None: ...


WorkerKind = TypeVar("WorkerKind", bound=Worker)


class Workers(Engine, Generic[WorkerKind]):
    """An engine of workers. One that is lost is replaced, and what it did is done again."""

    def __init__(
        self,
        work: Work,
        settings: EngineSettings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(work, settings, clock, sleep)
        self._workers: list[WorkerKind] = []

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        waiting = Waiting(tasks, self._clock)
        failures = Failures(self._work, progress, self._settings.max_away_seconds)
        while waiting or any(worker.task for worker in self._workers):
            most = min(self._max_workers(), len(tasks)) if waiting else 0
            while len(self._workers) < most:
                self._workers.append(self._start_worker())
            for worker in self._workers:
                if worker.is_idle and (task := waiting.next()) is not None:
                    worker.give(task, self._clock())
            is_idle = all(worker.is_idle for worker in self._workers)
            self._listen(max(_POLL_SECONDS, waiting.seconds_to_next() if is_idle else 0.0))
            for worker in list(self._workers):
                for done, failure in worker.taken_outcomes():
                    failures.settle(done, failure, waiting)
                progress.read(worker.taken_bytes_read())
                why = worker.why_lost(self._settings, self._clock())
                if why is not None:
                    self._workers.remove(worker)
                    worker.end()
                    if worker.task is not None:
                        failures.settle(worker.task, Failure(why), waiting)

    def _max_workers(self) -> int:
        """Return how many workers there is room for now."""
        raise NotImplementedError

    def _start_worker(self) -> WorkerKind:
        raise NotImplementedError

    def _listen(self, seconds: float) -> None:
        """Wait for what workers say, for `seconds` at most, and take it up."""
        raise NotImplementedError

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []

    def __exit__(self, *_: object) -> None:
        self._end_workers()
