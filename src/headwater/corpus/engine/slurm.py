"""Tasks as job arrays of a Slurm cluster: one array a stage, whose script lies in the work folder to be read.

The work folder must be on a disk that all nodes see, or the work in a store, where jobs then say why tasks failed.
What is missing after an array has ended is submitted again, so that a node that fails costs what it was doing.
"""

from __future__ import annotations

import json
import select
import shlex
import subprocess
import sys
from collections.abc import Sequence, Set
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from headwater.core.errors import ConfigError, PassingError
from headwater.core.files import make_folder, write_text
from headwater.core.stores import is_address
from headwater.corpus.engine.engine import Engine, Failure, Failures
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Task, TaskSet
from headwater.corpus.engine.workers import failure_of
from headwater.corpus.sources.settings import EngineSettings

MAX_JOBS = 100  # of an array, unless corpus.engine.workers says more; Slurm's own limit is a thousand
_POLL_SECONDS = 2.0

_SCRIPT = """#!/bin/bash
# {num_tasks} tasks of stage {stage} in {num_jobs} jobs; job K does every {num_jobs}th number, from the Kth on.
printf '%s\\n%s\\n' {jobs} "$SLURM_ARRAY_TASK_ID" | {python} -m headwater.corpus.engine.slurm_job
"""


class Slurm(Engine):
    """An engine that submits arrays and waits for them."""

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        failures, missing = Failures(self._task_set, progress, self._settings.max_away_seconds), list(tasks)
        for attempt in count():
            if not missing:
                return
            array = _Array(self._task_set, missing, attempt, self._settings)
            array.do(progress)
            failed = array.failures(set(self._task_set.missing(missing)))
            missing = [task for task, _ in failed]
            failures.add(*((task, failure.why) for task, failure in failed if not failure.may_pass))
            away = [(task, failure.why) for task, failure in failed if failure.may_pass]
            if away:  # one array waits as one
                self._sleep(failures.seconds_away(*away[0], self._clock()))


class _Array:
    """One array: its script, its logs, and the tasks that it has not done yet."""

    def __init__(self, task_set: TaskSet, tasks: list[Task], attempt: int, settings: EngineSettings) -> None:
        self._task_set = task_set
        self._stage = tasks[0].stage
        self._tasks = tasks
        self._missing = {task.number: task for task in tasks}
        self._num_jobs = min(len(tasks), settings.workers or MAX_JOBS)
        self._options = settings.slurm_options
        self._folder = task_set.folder / "slurm" / f"{self._stage}-{attempt}"
        task_set.place.remove(self._folder)  # logs of an earlier command
        make_folder(self._folder)
        jobs = {"maker": task_set.maker, "given": task_set.given, "stage": self._stage, "num_jobs": self._num_jobs}
        jobs["logs"] = task_set.place.address_of(self._folder)
        jobs_text = json.dumps({**jobs, "numbers": list(self._missing)})
        words = {"jobs": shlex.quote(jobs_text), "python": shlex.quote(sys.executable)}
        counts = {"num_tasks": len(tasks), "stage": self._stage, "num_jobs": self._num_jobs}
        write_text(self._folder / "array.sh", _SCRIPT.format(**words, **counts))

    def do(self, progress: Progress) -> None:
        """Submit the array and wait until it has ended, whether it did its tasks or not."""
        command = ["sbatch", "--wait", "--parsable", f"--job-name=headwater-{self._stage}"]
        logs = "/dev/null" if is_address(self._task_set.address) else f"{self._folder.absolute()}/job-%a.log"
        command += [f"--array=0-{self._num_jobs - 1}", f"--output={logs}"]
        command += [f"--chdir={Path.cwd()}", *self._options, str(self._folder / "array.sh")]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except FileNotFoundError:
            raise ConfigError(
                "sbatch is not on this machine's path; give the command where Slurm is, or use corpus.engine.name=local"
            ) from None
        try:
            while True:
                with suppress(PassingError):
                    self._count_done(progress)
                try:
                    process.wait(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            _cancel(process)
            raise
        output, errors = process.communicate()
        if not output.strip():
            raise ConfigError(f"sbatch refuses the jobs: {errors.decode(errors='replace').strip()}; {command}")
        self._count_done(progress)

    def _count_done(self, progress: Progress) -> None:
        for task in {*self._missing.values()}.difference(self._task_set.missing(self._missing.values())):
            progress.done(self._missing.pop(task.number))

    def failures(self, undone: Set[Task]) -> list[tuple[Task, Failure]]:
        """Return why each of these tasks is undone; raise the error that it raised when the user can act on it."""
        log_of, failed = cache(self._read_log), []
        for place, task in enumerate(self._tasks):
            if task in undone:
                outcomes, last_line = log_of(place % self._num_jobs)
                failed.append((task, failure_of(outcomes.get(task.number, {})) or Failure(last_line)))
        return failed

    def _read_log(self, job: int) -> tuple[dict[int, dict[str, Any]], str]:
        """Return the outcomes that a job wrote, by the number of the task, and the last of its other lines."""
        outcomes, last_line = dict[int, dict[str, Any]](), "its job ended without a word"
        for line in self._task_set.place.read_log(self._folder / f"job-{job}.log").split("\n"):
            try:
                outcome = json.loads(line)
                outcomes[outcome["number"]] = outcome
            except (ValueError, TypeError, KeyError):
                last_line = line if line.strip() else last_line
        return outcomes, last_line


def _cancel(process: subprocess.Popen[bytes]) -> None:
    """End the waiting sbatch and the jobs that it waits for."""
    assert process.stdout is not None
    is_ready, _, _ = select.select([process.stdout], [], [], 1.0)
    job = process.stdout.readline().decode().partition(";")[0].strip() if is_ready else ""
    process.kill()
    process.wait()
    if job:
        subprocess.run(["scancel", job], check=False)
