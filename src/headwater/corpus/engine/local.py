"""Which engine does the work: the one that the settings name; and those of this machine alone.

Worker processes are watched: one that dies, hangs or takes too much is replaced. It ends by itself when its pipe is
closed, so that none outlives this process, however that ends.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from functools import cached_property

from headwater.core.errors import PassingError
from headwater.corpus.engine.engine import Engine, Failure, Failures, Waiting
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.ray_cluster import RayCluster
from headwater.corpus.engine.slurm import Slurm
from headwater.corpus.engine.tasks import Do, Task, TaskSet, doer_of
from headwater.corpus.engine.worker_process import WorkerProcess
from headwater.corpus.engine.workers import Workers
from headwater.corpus.sources.settings import EngineSettings


class Pool(Workers[WorkerProcess]):
    """An engine of `num_workers` processes; each is started when there is a task for it."""

    def __init__(
        self, task_set: TaskSet, settings: EngineSettings, num_workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(task_set, settings, clock)
        self._num_workers = num_workers

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        if tasks and self._task_set.gpus_of(
            tasks[0].stage
        ):  # the limit of a worker counts addresses: CUDA takes terabytes
            InProcess(self._task_set, self._settings, self._clock).run(tasks, progress)
            return
        for worker in self._workers:
            worker.heard_at = self._clock()  # no one listened between two stages
        super().run(tasks, progress)

    def _max_workers(self) -> int:
        return self._num_workers

    def _start_worker(self) -> WorkerProcess:
        return WorkerProcess(self._task_set, self._settings.task_memory_bytes, self._clock())

    def _listen(self, seconds: float) -> None:
        by_handle = {worker.handle: worker for worker in self._workers}
        poll = select.poll()
        for handle in by_handle:
            poll.register(handle, select.POLLIN)
        for handle, _ in poll.poll(1000 * seconds):
            by_handle[handle].listen(self._clock())


class InProcess(Engine):
    """An engine that is this process."""

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        self._on_read = progress.read
        waiting = Waiting(tasks, self._clock)
        failures = Failures(self._task_set, progress, self._settings.max_away_seconds)
        while waiting:
            if (task := waiting.next()) is None:
                self._sleep(waiting.seconds_to_next())
                continue
            failure = None
            try:
                self._do(task)
            except PassingError as error:
                failure = Failure(str(error), may_pass=True)
            failures.settle(task, failure, waiting)

    @cached_property
    def _do(self) -> Do:
        """What does a task; it loads once, for all stages, what these need."""
        return doer_of(
            self._task_set.maker, self._task_set.given, lambda num_bytes: self._on_read(num_bytes), _num_cores()
        )


def engine_for(settings: EngineSettings, task_set: TaskSet, most_tasks: int) -> Engine:
    """Return the engine; on this machine stages of one task at most, or one worker, need no process but this."""
    if settings.name == "slurm":
        return Slurm(task_set, settings)
    if settings.name.startswith("ray"):
        return RayCluster(task_set, settings)
    num_workers = min(settings.workers or _num_cores(), most_tasks)
    return Pool(task_set, settings, num_workers) if num_workers > 1 else InProcess(task_set, settings)


def _num_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
