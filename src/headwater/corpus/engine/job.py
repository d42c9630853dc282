"""A job of a Slurm array: `python -m headwater.corpus.engine.job`, told on its input which jobs file and which job."""

from __future__ import annotations

import sys
from pathlib import Path

from headwater.core.files import read_json
from headwater.corpus.tasks.run import run_task
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext


def main() -> int:
    """Do the tasks of this job; return the exit status, 1 when one of them failed."""
    jobs = read_json(Path(sys.stdin.readline().removesuffix("\n")))
    job = int(sys.stdin.readline())
    context = WorkerContext(Path(jobs["folder"]))
    num_failed = 0
    for number in jobs["numbers"][job :: jobs["num_jobs"]]:
        try:
            run_task(context, Task(jobs["stage"], number))
        except Exception as error:
            sys.stderr.write(f"{jobs['stage']} {number}: {type(error).__name__}: {error}\n")
            num_failed += 1
    return int(num_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
