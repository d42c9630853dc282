"""What the engines have in common that hand out tasks one by one, to processes here or on a cluster."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from headwater.core import errors
from headwater.core.errors import HeadwaterError, PassingError
from headwater.corpus.engine.engine import Engine, Failure, Failures, Waiting
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Task
from headwater.corpus.sources.settings import EngineSettings

_POLL_SECONDS = 1.0


def outcome_of(run: Callable[[], None]) -> dict[str, Any]:
    """Run a task, in a worker; return the message that says how it ended. MemoryError comes through."""
    try:
        run()
    except MemoryError:
        raise
    except PassingError as error:
        return {"end": str(error), "may_pass": True}
    except HeadwaterError as error:
        return {"error": [type(error).__name__, str(error)]}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return {"end": f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"}
    return {"end": None}


def failure_of(outcome: dict[str, Any]) -> Failure | None:
    """Return why a task failed, or None; raise the error that it raised when the user can act on it."""
    if "error" in outcome:
        name, text = outcome["error"]
        raise getattr(errors, name, HeadwaterError)(text)
    why = outcome.get("end")
    return None if why is None else Failure(why, bool(outcome.get("may_pass")))


class Worker:
    """Does a task at a time; `task` is what it does now. As the process sees it that gives it tasks."""

    def __init__(self, now: float) -> None:
        self.task: Task | None = None
        self._given_at = now
        self._outcomes: list[tuple[Task, Failure | None]] = []
        self._num_bytes_read = self._num_bytes_reported = 0

    @property
    def is_idle(self) -> bool:
        return self.task is None

    def give(self, task: Task, now: float) -> None:
        self.task, self._given_at = task, now

    def take_up(self, message: dict[str, Any]) -> None:
        """Take up what the worker says; raise the error that a task raised when the user can act on it."""
        self._num_bytes_read = message.get("read", self._num_bytes_read)
        if "error" in message or "end" in message:
            failure = failure_of(message)
            if self.task is not None:
                self._outcomes.append((self.task, failure))
                self.task = None

    def taken_outcomes(self) -> list[tuple[Task, Failure | None]]:
        """Return the tasks that ended since the last call, each with why it failed, or None."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def taken_bytes_read(self) -> int:
        """Return how much text the worker read since the last call."""
        new, self._num_bytes_reported = self._num_bytes_read - self._num_bytes_reported, self._num_bytes_read
        return new

    def why_lost(self, settings: EngineSettings, now: float) -> str | None:
        """Return why the worker is of no more use, or None."""
        if self.task is not None and now - self._given_at > settings.task_seconds:
            return f"it took more than {settings.task_seconds:g} seconds"
        return None

    def end(self) -> None:
        raise NotImplementedError


WorkerKind = TypeVar("WorkerKind", bound=Worker)


class Workers(Engine, Generic[WorkerKind]):
    """An engine of workers. One that is lost is replaced, and what it did is done again."""

    @cached_property
    def _workers(self) -> list[WorkerKind]:
        return []

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        waiting = Waiting(tasks, self._clock)
        failures = Failures(self._task_set, progress, self._settings.max_away_seconds)
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

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []
