"""A job of a Slurm array: `python -m headwater.corpus.engine.slurm_job`; its input says which jobs file, which job."""

from __future__ import annotations

import sys
from pathlib import Path

from headwater.core.files import read_json
from headwater.corpus.engine.tasks import Task, doer_of


def main() -> int:
    """Do the tasks of this job; return the exit status, 1 when one of them failed."""
    jobs = read_json(Path(sys.stdin.readline().removesuffix("\n")))
    job = int(sys.stdin.readline())
    do = doer_of(jobs["maker"], jobs["given"], lambda num_bytes: None, 1)
    num_failed = 0
    for number in jobs["numbers"][job :: jobs["num_jobs"]]:
        try:
            do(Task(jobs["stage"], number))
        except Exception as error:
            sys.stderr.write(f"{jobs['stage']} {number}: {type(error).__name__}: {error}\n")
            num_failed += 1
    return int(num_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
