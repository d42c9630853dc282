"""Does one task: what every engine calls, in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headwater.corpus.tasks.bench import Bench
from headwater.corpus.tasks.exact import find_copies
from headwater.corpus.tasks.found import gathering
from headwater.corpus.tasks.gather import gather_found, gather_keys
from headwater.corpus.tasks.near import find_pairs
from headwater.corpus.tasks.repeats import find_repeats
from headwater.corpus.tasks.runs import GATHER
from headwater.corpus.tasks.sift import sift
from headwater.corpus.tasks.verify import verify
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.write import write
from headwater.errors import StorageError

STAGES: dict[str, Callable[[Bench, int], None]] = {
    "sift": sift,
    GATHER: gather_keys,
    "exact": find_copies,
    "near": find_pairs,
    "verify": verify,
    "repeats": find_repeats,
    "write": write,
}
STAGES |= {gathering(stage): partial(gather_found, stage=stage) for stage in ("exact", "near", "repeats")}


def run_task(bench: Bench, task: Task) -> None:
    """Do a task, unless it is done. Doing it twice, even at once, is harmless: both make the same bytes."""
    if bench.work.is_done(task):
        return
    try:
        STAGES[task.stage](bench, task.number)
    except StorageError:
        if not bench.work.is_done(task):
            raise
