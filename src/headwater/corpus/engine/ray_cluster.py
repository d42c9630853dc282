"""Tasks on a Ray cluster, whose nodes all see the work folder and have headwater installed.

Of Ray only remote functions are used: which task runs where, and what is done again when a node is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headwater.core import errors
from headwater.core.errors import ConfigError, HeadwaterError, PassingError
from headwater.corpus.engine.engine import MAX_FAILURES, Engine, Failure, Failures, Waiting
from headwater.corpus.engine.progress import Progress
from headwater.corpus.tasks.run import run_task
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext

_TASKS_A_CORE = 2  # given to the cluster beforehand, so that none waits for the next


class RayCluster(Engine):
    """An engine that hands tasks to the cluster at an address; without one it starts a cluster on this machine."""

    def __enter__(self) -> RayCluster:
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("the engine ray needs Ray; `pip install headwater[ray]` installs it") from None
        self._ray: Any = ray
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
        do = self._ray.remote(max_retries=MAX_FAILURES - 1)(_do)
        waiting, running = Waiting(tasks, self._clock), dict[Any, Task]()
        failures = Failures(self._work, progress, self._settings.max_away_seconds)
        folder = str(self._work.folder.absolute())
        while waiting or running:
            num_cores = self._settings.workers or int(self._ray.cluster_resources().get("CPU", 1))
            while len(running) < _TASKS_A_CORE * num_cores and (task := waiting.next()) is not None:
                running[do.remote(folder, task.stage, task.number)] = task
            if not running:
                self._sleep(waiting.seconds_to_next())
                continue
            # a task that waits is not forgotten over one that takes long
            timeout = waiting.seconds_to_next() if waiting and len(running) < _TASKS_A_CORE * num_cores else None
            finished, _ = self._ray.wait(list(running), num_returns=1, timeout=timeout)
            for each in finished:
                failures.settle(running.pop(each), self._failure_of(each), waiting)

    def _failure_of(self, each: Any) -> Failure | None:
        """Return why a task failed, or None; raise the error that it raised when the user can act on it."""
        try:
            kind, text = self._ray.get(each)
        except self._ray.exceptions.RayError as error:
            return Failure(str(error).strip().splitlines()[0])
        if kind == PassingError.__name__:
            return Failure(text, may_pass=True)
        if kind and issubclass(getattr(errors, kind, Exception), HeadwaterError):
            raise getattr(errors, kind)(text)
        return Failure(f"{kind}: {text}") if kind else None

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


def _do(folder: str, stage: str, number: int) -> tuple[str, str]:
    """Do a task in a process of the cluster; return the name and the text of an error, or nothing."""
    try:
        run_task(WorkerContext(Path(folder)), Task(stage, number))
    except Exception as error:
        return type(error).__name__, str(error)
    return "", ""
