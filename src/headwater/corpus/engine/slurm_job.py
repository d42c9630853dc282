"""A job of a Slurm array: `python -m headwater.corpus.engine.slurm_job`; its input has all jobs, and which it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache, partial

from headwater.core.files import encoded
from headwater.core.stores import Store, is_address
from headwater.corpus.engine.tasks import Do, Task, doer_of
from headwater.corpus.engine.workers import outcome_of


def main() -> int:
    """Do the tasks of this job, write a line of JSON about each that failed; return the exit status, 1 if one did."""
    jobs = json.loads(sys.stdin.readline())
    job = int(sys.stdin.readline())
    do = cache(lambda: doer_of(jobs["maker"], jobs["given"], lambda num_bytes: None, 1))
    failed = list[str]()
    for number in jobs["numbers"][job :: jobs["num_jobs"]]:
        try:
            outcome = outcome_of(partial(_do, do, Task(jobs["stage"], number)))
        except MemoryError as error:
            outcome = {"end": f"its job has too little memory ({error}); corpus.engine.slurm_options may ask for more"}
        if outcome != {"end": None}:
            failed.append(json.dumps({"number": number, **outcome}) + "\n")
            sys.stderr.write(failed[-1])
    if failed and is_address(jobs["logs"]):  # elsewhere the log is what Slurm writes of this process's errors
        Store(jobs["logs"], "corpus.engine.store").write(f"job-{job}.log", encoded("".join(failed)))
    return int(bool(failed))


def _do(do: Callable[[], Do], task: Task) -> None:
    do()(task)


if __name__ == "__main__":
    sys.exit(main())
