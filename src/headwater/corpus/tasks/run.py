"""Does one task: what every engine calls, in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headwater.corpus.tasks.columns import measure_texts, read_and_measure
from headwater.corpus.tasks.pages import find_own_text, shorten_pages
from headwater.corpus.tasks.verify import verify
from headwater.corpus.tasks.work import COLUMNS, GPU_COLUMNS, OWN, SHORTENED, TEXTS, VERIFY, WRITE, Task
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.tasks.write import write

_DO: dict[str, Callable[[WorkerContext, int], None]] = {
    TEXTS: read_and_measure,
    COLUMNS: measure_texts,
    GPU_COLUMNS: partial(measure_texts, stage=GPU_COLUMNS),
    OWN: find_own_text,
    VERIFY: verify,
    SHORTENED: shorten_pages,
    WRITE: write,
}


def run_task(context: WorkerContext, task: Task) -> None:
    """Do a task, unless it is done. Doing it twice, even at the same time, is harmless: both make the same bytes."""
    if not context.work.is_done(task):
        _DO[task.stage](context, task.number)
