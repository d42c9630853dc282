"""Tasks on a Ray cluster, whose nodes all see the work folder, at the same path, and have headwater installed.

An actor is a process that keeps what it loaded. It holds a core, the memory that a task may take and, where measures
want some, GPUs; it has a task at a time. What a lost node, an ended process or a task over its time leaves undone is
done again by another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from headwater.core import errors
from headwater.core.errors import ConfigError, HeadwaterError, PassingError
from headwater.corpus.engine.engine import MAX_FAILURES, Engine, Failure, Failures, Waiting
from headwater.corpus.engine.progress import Progress
from headwater.corpus.read.processes import limit_memory_
from headwater.corpus.tasks.run import run_task
from headwater.corpus.tasks.work import GPU_COLUMNS, Task
from headwater.corpus.tasks.worker_context import WorkerContext

_POLL_SECONDS = 5.0  # for nodes that came, and tasks that take too long


class _Call(NamedTuple):
    """What an actor does: a task since a time, or to start."""

    actor: Any
    task: Task | None
    since: float


class RayCluster(Engine):
    """An engine that hands tasks to the cluster at an address; without one it starts a cluster on this machine."""

    def __enter__(self) -> RayCluster:
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("the engine ray needs Ray; `pip install headwater[ray]` installs it") from None
        self._ray: Any = ray
        self._calls, self._idle = dict[Any, _Call](), list[Any]()
        self._num_gpus, self._num_not_started, self._why_not_started = 0.0, 0, ""
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = self._settings.name
        if address == "ray":
            ray.init("local", num_cpus=self._settings.workers, include_dashboard=False, **options)
            return self
        try:
            ray.init(address, **options)
        except (ConnectionError, ImportError) as error:  # ImportError: its client needs what `ray[client]` installs
            raise ConfigError(
                f"no Ray cluster answers at {address} ({error}); start its client server, give its address as "
                "ray://HOST:10001, and where it asks for a token set RAY_AUTH_TOKEN as Ray documents it"
            ) from None
        return self

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        waiting = Waiting(tasks, self._clock)
        failures = Failures(self._work, progress, self._settings.max_away_seconds)
        num_gpus = self._work.gpus if tasks and tasks[0].stage == GPU_COLUMNS else 0.0
        if num_gpus != self._num_gpus:
            self._kill(*self._idle, *(call.actor for call in self._calls.values()))
            self._calls, self._num_gpus = {}, num_gpus
        while waiting or any(call.task for call in self._calls.values()):
            self._start_actors(len(tasks))
            while self._idle and (task := waiting.next()) is not None:
                actor = self._idle.pop()
                self._calls[actor.do.remote(task.stage, task.number)] = _Call(actor, task, self._clock())
            if not self._calls:
                self._sleep(waiting.seconds_to_next())
                continue
            timeout = min(_POLL_SECONDS, waiting.seconds_to_next()) if waiting and self._idle else _POLL_SECONDS
            self._ray.wait(list(self._calls), num_returns=1, timeout=timeout)
            ended, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
            for reference in ended:
                self._settle(self._calls.pop(reference), self._failure_of(reference), failures, waiting)
            late = self._clock() - self._settings.task_seconds
            for reference in [each for each, call in self._calls.items() if call.task and call.since < late]:
                why = f"it took more than {self._settings.task_seconds:g} seconds"
                self._settle(self._calls.pop(reference), Failure(why), failures, waiting)

    def _start_actors(self, most: int) -> None:
        """Start as many as there is room for on the nodes that there are now."""
        wants = {"CPU": 1, "memory": self._settings.task_memory_bytes, "GPU": self._num_gpus}
        wants = {name: amount for name, amount in wants.items() if amount}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(int(min(node.get(name, 0) // amount for name, amount in wants.items())) for node in nodes)
        if not room:
            raise ConfigError(
                f"no node of the Ray cluster has what a task wants ({wants}); start such nodes, or lower "
                "corpus.engine.task_memory_bytes; the same command resumes"
            )
        if self._num_not_started > MAX_FAILURES * room:
            raise ConfigError(
                f"processes of the Ray cluster can't start: {self._why_not_started}; every node needs this version of "
                f"headwater, and to see {self._work.folder.absolute()}"
            )
        options = {"num_cpus": 1, "num_gpus": self._num_gpus, "memory": self._settings.task_memory_bytes}
        while len(self._calls) + len(self._idle) < min(room, most, self._settings.workers or room):
            # the limit counts addresses, of which CUDA takes terabytes
            limit = 0 if self._num_gpus else self._settings.task_memory_bytes
            actor = self._actor.options(**options).remote(str(self._work.folder.absolute()), os.getcwd(), limit)
            self._calls[actor.start.remote()] = _Call(actor, None, self._clock())

    @cached_property
    def _actor(self) -> Any:
        return self._ray.remote(max_restarts=0, max_task_retries=0)(_Actor)

    def _settle(self, call: _Call, failure: Failure | None, failures: Failures, waiting: Waiting) -> None:
        if failure is None or failure.may_pass:
            self._idle.append(call.actor)
        else:  # those that are idle may have been on the same lost node: a task would fail at one after another
            self._kill(call.actor, *self._idle)
        if call.task is not None:
            failures.settle(call.task, failure, waiting)
        elif failure is not None:
            self._num_not_started, self._why_not_started = self._num_not_started + 1, failure.why

    def _kill(self, *actors: Any) -> None:
        for actor in actors:
            self._ray.kill(actor)
        self._idle = []

    def _failure_of(self, reference: Any) -> Failure | None:
        """Return why a task failed, or None; raise the error that it raised when the user can act on it."""
        try:
            kind, text = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Failure(str(error).strip().splitlines()[-1].strip())
        if kind == PassingError.__name__:
            return Failure(text, may_pass=True)
        if kind and issubclass(getattr(errors, kind, Exception), HeadwaterError):
            raise getattr(errors, kind)(text)
        return Failure(f"{kind}: {text}") if kind else None

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


class _Actor:
    """A process of the cluster. Its methods return the name and the text of an error, or nothing."""

    def __init__(self, folder: str, working_folder: str, memory_bytes: int) -> None:
        self._folder, self._working_folder, self._memory_bytes = Path(folder), working_folder, memory_bytes

    def start(self) -> tuple[str, str]:
        try:
            os.chdir(self._working_folder)  # that paths of sources and measures are relative to
            self._context = WorkerContext(self._folder)
        except Exception as error:
            return "it can't work", f"{type(error).__name__}: {error}"
        if self._memory_bytes:
            limit_memory_(self._memory_bytes)
        return "", ""

    def do(self, stage: str, number: int) -> tuple[str, str]:
        try:
            run_task(self._context, Task(stage, number))
        except MemoryError:
            return "MemoryError", f"it took more than {self._memory_bytes / 1e6:,.0f} MB of memory"
        except Exception as error:
            return type(error).__name__, str(error)
        return "", ""
