"""The tasks that merge files, so that the searching tasks have few files to open: keys of segments, and what was found.

They hold a bounded number of rows. What they write is sorted by the first field alone; of equal ones, rows of earlier
inputs come first, which for keys are those of earlier documents. Whoever needs another order sorts what it reads.
"""

from __future__ import annotations

from headwater.corpus.tasks.arrays import Stream
from headwater.corpus.tasks.merge import Table, merged
from headwater.corpus.tasks.results import TABLE, merging
from headwater.corpus.tasks.runs import MERGE_KEYS
from headwater.corpus.tasks.work import Task
from headwater.corpus.tasks.worker_context import WorkerContext


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
