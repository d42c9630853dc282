"""Which engine does the work: the one that the settings name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from headwater.core.errors import PassingError
from headwater.corpus.engine.failures import Failure, Failures, Waiting
from headwater.corpus.engine.interface import Engine
from headwater.corpus.engine.pool import Pool
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.ray_cluster import RayCluster
from headwater.corpus.engine.slurm import Slurm
from headwater.corpus.sources.settings import EngineSettings
from headwater.corpus.tasks.run import run_task
from headwater.corpus.tasks.work import Task, Work
from headwater.corpus.tasks.worker_context import WorkerContext


class InProcess(Engine):
    """An engine that is this process."""

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        context = self._context
        context.on_read = progress.read
        waiting = Waiting(tasks, self._clock)
        failures = Failures(self._work, progress, self._settings.max_away_seconds)
        while waiting:
            if (task := waiting.next()) is None:
                self._sleep(waiting.seconds_to_next())
                continue
            failure = None
            try:
                run_task(context, task)
            except PassingError as error:
                failure = Failure(str(error), may_pass=True)
            failures.settle(task, failure, waiting)

    @cached_property
    def _context(self) -> WorkerContext:
        """What is loaded once, for all stages."""
        return WorkerContext(self._work.folder)


def engine_for(settings: EngineSettings, work: Work) -> Engine:
    """Return the engine; on this machine a corpus of one part, or one worker, needs no process but this."""
    if settings.name == "slurm":
        return Slurm(work, settings)
    if settings.name.startswith("ray"):
        return RayCluster(work, settings)
    num_workers = min(settings.workers or _num_cores(), len(work.plan.parts))
    return Pool(work, settings, num_workers) if num_workers > 1 else InProcess(work, settings)


def _num_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
