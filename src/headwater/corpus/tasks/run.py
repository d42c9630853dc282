"""Does one task: what every engine calls, in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headwater.core.errors import StorageError
from headwater.corpus.tasks.arrays import Stream
from headwater.corpus.tasks.exact import find_copies
from headwater.corpus.tasks.filter import filter_part
from headwater.corpus.tasks.merge import Table, merged
from headwater.corpus.tasks.near import find_pairs
from headwater.corpus.tasks.pages import PAGES, write_page_keys
from headwater.corpus.tasks.repeats import COMMON_LINES, REPEATS, SHARED, find_repeats
from headwater.corpus.tasks.results import TABLE, merging
from headwater.corpus.tasks.runs import MERGE_KEYS
from headwater.corpus.tasks.verify import verify
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.tasks.write import write


def merge_keys(context: WorkerContext, number: int) -> None:
    """Do a task: make one run of consecutive ones."""
    level, places = context.runs.plan.inputs(number)
    runs = [context.runs.of_level(level, place) for place in places]
    tables: dict[str, list[Table]] = {}
    for run in runs:  # one without documents of a kind has no table for them
        for name in run.file.tables:
            tables.setdefault(name, []).append(Table(run.file, name, run.start - runs[0].start))
    with context.work.new_output(Task(MERGE_KEYS, number)) as output:
        output.write_streams({name: _merged(tables[name]) for name in sorted(tables)})


def merge_results(context: WorkerContext, number: int, stage: str) -> None:
    """Do a task of the stage that merges what `stage` found."""
    found = context.results(stage)
    level, places = found.plan.inputs(number)
    tables = [Table(found.file(level, place), TABLE) for place in places]
    with context.work.new_output(Task(merging(stage), number)) as output:
        output.write_streams({TABLE: _merged(tables)})


def _merged(tables: list[Table]) -> Stream:
    return Stream(tables[0].file.dtype(tables[0].name), sum(table.num_rows for table in tables), merged(tables))


STAGES: dict[str, Callable[[WorkerContext, int], None]] = {
    "filter": filter_part,
    MERGE_KEYS: merge_keys,
    "exact": find_copies,
    COMMON_LINES.stage: partial(find_repeats, search=COMMON_LINES),
    PAGES: write_page_keys,
    "near": find_pairs,
    "verify": verify,
    REPEATS.stage: partial(find_repeats, search=REPEATS),
    SHARED.stage: partial(find_repeats, search=SHARED),
    "write": write,
}
_MERGED = ("exact", COMMON_LINES.stage, PAGES, "near", REPEATS.stage, SHARED.stage)
STAGES |= {merging(stage): partial(merge_results, stage=stage) for stage in _MERGED}


def run_task(context: WorkerContext, task: Task) -> None:
    """Do a task, unless it is done. Doing it twice, even at the same time, is harmless: both make the same bytes."""
    if context.work.is_done(task):
        return
    try:
        STAGES[task.stage](context, task.number)
    except StorageError:
        if not context.work.is_done(task):
            raise
