"""A job of a Slurm array: `python -m headwater.corpus.engine.slurm_job`; its input has all jobs, and which it is."""

from __future__ import annotations

import json
import sys
from functools import cache

from headwater.core.files import encoded
from headwater.core.stores import Store, is_address
from headwater.corpus.engine.tasks import Task, doer_of


def main() -> int:
    """Do the tasks of this job; return the exit status, 1 when one of them failed."""
    jobs = json.loads(sys.stdin.readline())
    job = int(sys.stdin.readline())
    do = cache(lambda: doer_of(jobs["maker"], jobs["given"], lambda num_bytes: None, 1))
    failed = list[str]()
    for number in jobs["numbers"][job :: jobs["num_jobs"]]:
        try:
            do()(Task(jobs["stage"], number))
        except Exception as error:
            failed.append(f"{jobs['stage']} {number}: {type(error).__name__}: {error}\n")
            sys.stderr.write(failed[-1])
    if failed and is_address(jobs["logs"]):  # elsewhere the log is what Slurm writes of this process's errors
        Store(jobs["logs"], "corpus.engine.store").write(f"job-{job}.log", encoded("".join(failed)))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
