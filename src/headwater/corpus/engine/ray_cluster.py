"""Tasks on a Ray cluster, whose nodes all see the work folder at the same path, or its store, and have headwater.

A worker is an actor, a process that keeps what it loaded. It holds a core, the memory that a task may take and, for
measures that want some, GPUs. Nodes may come and go: what a lost one did is done again by another.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from headwater.core.errors import ConfigError, HeadwaterError, PassingError
from headwater.corpus.engine.engine import MAX_FAILURES
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Do, Task, doer_of
from headwater.corpus.engine.workers import Worker, Workers, outcome_of
from headwater.corpus.read.processes import limit_memory_
from headwater.corpus.sources.settings import EngineSettings

_MAX_TRIES, _SECONDS_BETWEEN_TRIES = 3, 3.0  # of a connection that the cluster accepts and then breaks off


class RayCluster(Workers["_ActorWorker"]):
    """An engine that hands tasks to the cluster at an address; without one it starts a cluster on this machine."""

    def __enter__(self) -> RayCluster:
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("the engine ray needs Ray; `pip install headwater[ray]` installs it") from None
        self._ray: Any = ray
        self._num_gpus, self._num_not_started = 0.0, 0
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = self._settings.name
        if address == "ray":
            ray.init("local", num_cpus=self._settings.workers, include_dashboard=False, **options)
            return self
        try:
            for tries_left in reversed(range(_MAX_TRIES)):
                try:
                    ray.init(address, **options)
                    break
                except ConnectionAbortedError:  # what Ray starts for a client dies now and then (gRPC, in a fork)
                    if not tries_left:
                        raise
                    self._sleep(_SECONDS_BETWEEN_TRIES)
        except (ConnectionError, ImportError) as error:  # ImportError: its client needs what `ray[client]` installs
            raise ConfigError(
                f"no Ray cluster answers at {address} ({error}); start its client server, give its address as "
                "ray://HOST:10001, and where it asks for a token set RAY_AUTH_TOKEN as Ray documents it"
            ) from None
        return self

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        num_gpus = self._task_set.gpus_of(tasks[0].stage) if tasks else 0.0
        if num_gpus != self._num_gpus:
            super().__exit__()
            self._num_gpus = num_gpus
        super().run(tasks, progress)

    def _max_workers(self) -> int:
        wants = {"CPU": 1.0, "memory": float(self._settings.task_memory_bytes), "GPU": self._num_gpus}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(int(min(node.get(name, 0) // much for name, much in wants.items() if much)) for node in nodes)
        if not room:
            raise ConfigError(
                f"no node of the Ray cluster has a core, {wants['memory'] / 1e6:,.0f} MB of memory and "
                f"{self._num_gpus:g} GPUs; add one, or lower corpus.engine.task_memory_bytes: the same command resumes"
            )
        return min(room, self._settings.workers or room)

    def _start_worker(self) -> _ActorWorker:
        memory = self._settings.task_memory_bytes
        options = {"num_cpus": 1, "num_gpus": self._num_gpus, "memory": memory}
        limit = 0 if self._num_gpus else memory  # it counts addresses, of which CUDA takes terabytes
        place = self._task_set.maker, self._task_set.given, os.getcwd(), limit
        return _ActorWorker(self._ray, self._actor.options(**options).remote(*place), self._clock())

    @cached_property
    def _actor(self) -> Any:
        return self._ray.remote(max_restarts=0, max_task_retries=0)(_Actor)

    def _listen(self, seconds: float) -> None:
        busy = {worker.reference: worker for worker in self._workers if worker.reference is not None}
        if not busy:
            self._sleep(seconds)
            return
        self._ray.wait(list(busy), num_returns=1, timeout=seconds)
        for reference in self._ray.wait(list(busy), num_returns=len(busy), timeout=0)[0]:
            worker = busy[reference]
            worker.listen()
            if worker.why and worker.task is None:
                self._num_not_started += 1
                if self._num_not_started > MAX_FAILURES * len(self._workers):
                    raise ConfigError(
                        f"processes of the Ray cluster can't start: {worker.why}; every node needs this version of "
                        f"headwater, and to see {self._task_set.address}"
                    )
            if worker.why:  # the idle ones may have been on the same node, and a task would fail on one after another
                for other in self._workers:
                    other.why = other.why or ("its node may be lost" if other.is_idle else "")

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


class _ActorWorker(Worker):
    """A worker that is an actor; `why` it is lost, if it is."""

    def __init__(self, ray: Any, actor: Any, now: float) -> None:
        super().__init__(now)
        self._ray, self._actor, self.why = ray, actor, ""
        self.reference: Any = actor.start.remote()  # to what it will answer; no task before: there may be no room yet

    @property
    def is_idle(self) -> bool:
        return self.reference is None

    def give(self, task: Task, now: float) -> None:
        super().give(task, now)
        self.reference = self._actor.do.remote(task.stage, task.number)

    def listen(self) -> None:
        """Take up its answer."""
        reference, self.reference = self.reference, None
        try:
            message = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            message = {"lost": str(error).strip().splitlines()[-1].strip().partition(". ")[0]}
        self.why = message.get("lost", "")
        self.take_up(message)

    def why_lost(self, settings: EngineSettings, now: float) -> str | None:
        return self.why or super().why_lost(settings, now)

    def end(self) -> None:
        self._ray.kill(self._actor)


class _Actor:
    """A process of the cluster. Its methods return messages, as those of this machine send them."""

    def __init__(self, maker: str, given: dict[str, Any], working_folder: str, memory_bytes: int) -> None:
        self._maker, self._given = maker, given
        self._working_folder, self._memory_bytes = working_folder, memory_bytes
        self._do: Do | None = None

    def start(self) -> dict[str, Any]:
        try:
            if os.path.isdir(self._working_folder):  # that paths of sources and measures are relative to
                os.chdir(self._working_folder)
            self._load()
        except PassingError:  # the first task finds out, and waits
            pass
        except (OSError, HeadwaterError) as error:
            text = f"a node of the Ray cluster doesn't see what this machine does: {error}"
            return {"error": [ConfigError.__name__, text]}
        if self._memory_bytes:
            limit_memory_(self._memory_bytes)
        return {}

    def _load(self) -> Do:
        if self._do is None:
            self._do = doer_of(self._maker, self._given, lambda num_bytes: None, 1)
        return self._do

    def do(self, stage: str, number: int) -> dict[str, Any]:
        try:
            return outcome_of(lambda: self._load()(Task(stage, number)))
        except MemoryError:
            return {"lost": f"it took more than {self._memory_bytes / 1e6:,.0f} MB of memory"}
