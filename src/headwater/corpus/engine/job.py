"""A job of a Slurm array: `python -m headwater.corpus.engine.job`, told on its input all jobs and which one it is."""

from __future__ import annotations

import json
import sys

from headwater.corpus.tasks.run import run_task
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext


def main() -> int:
    """Do the tasks of this job; return the exit status, 1 when one of them failed."""
    jobs = json.loads(sys.stdin.readline())
    job = int(sys.stdin.readline())
    context = WorkerContext(jobs["work"])
    failed = list[str]()
    for number in jobs["numbers"][job :: jobs["num_jobs"]]:
        try:
            run_task(context, Task(jobs["stage"], number))
        except Exception as error:
            failed.append(f"{jobs['stage']} {number}: {type(error).__name__}: {error}\n")
            sys.stderr.write(failed[-1])
    if failed:
        work = context.work
        work.place.write_log(work.folder / "slurm" / jobs["folder"] / f"job-{job}.log", "".join(failed))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
