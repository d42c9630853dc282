"""Does one task of a corpus: what every engine calls, in whatever process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from headwater.corpus.engine.tasks import Do, Task
from headwater.corpus.tasks.columns import measure_texts, read_and_measure
from headwater.corpus.tasks.lines import count_lines
from headwater.corpus.tasks.pages import find_own_text, shorten_pages
from headwater.corpus.tasks.passages import find_passages
from headwater.corpus.tasks.verify import verify
from headwater.corpus.tasks.work import COLUMNS, COPIED, GPU_COLUMNS, LINES, OWN, SHORTENED, TEXTS, VERIFY, WRITE
from headwater.corpus.tasks.worker_context import WorkerContext
from headwater.corpus.tasks.write import write

_DO: dict[str, Callable[[WorkerContext, int], None]] = {
    LINES: count_lines,
    TEXTS: read_and_measure,
    COLUMNS: measure_texts,
    GPU_COLUMNS: partial(measure_texts, stage=GPU_COLUMNS),
    OWN: find_own_text,
    VERIFY: verify,
    COPIED: find_passages,
    SHORTENED: shorten_pages,
    WRITE: write,
}


def tasks_of_corpus(given: dict[str, Any], on_read: Callable[[int], None], num_cores: int) -> Do:
    """Return what does a task of the corpus that is made in a folder, unless it is done."""
    context = WorkerContext(given["work"], on_read)

    def do(task: Task) -> None:
        if context.work.missing([task]):
            _DO[task.stage](context, task.number)

    return do
