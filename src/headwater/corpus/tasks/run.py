"""Does one task: what every engine calls, in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headwater.corpus.tasks.exact import find_copies
from headwater.corpus.tasks.filter import filter_part
from headwater.corpus.tasks.merge_tasks import merge_keys, merge_results
from headwater.corpus.tasks.near import find_pairs
from headwater.corpus.tasks.repeats import find_repeats
from headwater.corpus.tasks.results import merging
from headwater.corpus.tasks.runs import MERGE_KEYS
from headwater.corpus.tasks.verify import verify
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.tasks.write import write
from headwater.errors import StorageError

STAGES: dict[str, Callable[[WorkerContext, int], None]] = {
    "filter": filter_part,
    MERGE_KEYS: merge_keys,
    "exact": find_copies,
    "near": find_pairs,
    "verify": verify,
    "repeats": find_repeats,
    "write": write,
}
STAGES |= {merging(stage): partial(merge_results, stage=stage) for stage in ("exact", "near", "repeats")}


def run_task(context: WorkerContext, task: Task) -> None:
    """Do a task, unless it is done. Doing it twice, even at the same time, is harmless: both make the same bytes."""
    if context.work.is_done(task):
        return
    try:
        STAGES[task.stage](context, task.number)
    except StorageError:
        if not context.work.is_done(task):
            raise
