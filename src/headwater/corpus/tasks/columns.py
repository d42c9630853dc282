"""The second task of a slice: what the measures say of its texts, a table each; a task of its own for those on GPUs."""

from __future__ import annotations

from contextlib import ExitStack

import pyarrow as pa

from headwater.corpus.measures.measure import measured, schema_of
from headwater.corpus.step import Candidate
from headwater.corpus.tasks.texts import Texts
from headwater.corpus.tasks.work import COLUMNS
from headwater.corpus.tasks.worker_context import WorkerContext

COLUMNS_FILE = "columns.parquet"


def measure_texts(context: WorkerContext, number: int, stage: str = COLUMNS) -> None:
    """Do the task of a slice: read its texts once for all measures of the stage that are not there yet."""
    work, part = context.work, context.work.plan.parts[number]
    names = work.missing_measures(number, stage)
    texts = Texts(work, part, reads_all=True)
    with ExitStack() as stack:
        tables = []
        for name in names:
            measure = context.measure(name)
            output = stack.enter_context(work.new_output(work.columns_of(name, number)))
            tables.append((measure, stack.enter_context(output.table(COLUMNS_FILE, schema_of(measure)))))
        for documents in texts.batches():
            candidates = [Candidate(document, context.hasher) for document in documents]
            for measure, table in tables:
                table.write_table(pa.Table.from_batches([measured(measure, candidates)]))
