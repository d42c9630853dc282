"""Does one task: what every engine calls, in whatever process."""

from __future__ import annotations

from headwater.corpus.tasks.bench import Bench
from headwater.corpus.tasks.exact import find_copies
from headwater.corpus.tasks.near import find_pairs
from headwater.corpus.tasks.repeats import find_repeats
from headwater.corpus.tasks.sift import sift
from headwater.corpus.tasks.verify import verify
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.write import write
from headwater.errors import StorageError

STAGES = {
    "sift": sift,
    "exact": find_copies,
    "near": find_pairs,
    "verify": verify,
    "repeats": find_repeats,
    "write": write,
}


def run_task(bench: Bench, task: Task) -> None:
    """Do a task, unless it is done. Doing it twice, even at once, is harmless: both make the same bytes."""
    if bench.work.is_done(task):
        return
    try:
        STAGES[task.stage](bench, task.number)
    except StorageError:
        if not bench.work.is_done(task):
            raise
