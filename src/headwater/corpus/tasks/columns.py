"""What the measures say of a slice's texts, a table each.

Ours are asked while a slice is read, since its texts are at hand; those of a user's own in a task of their own, and
another for those on GPUs: one that fails costs nothing that was read. So is any measure that comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pyarrow as pa

from headwater.corpus.measures.chosen import OURS
from headwater.corpus.measures.measure import measured, schema_of
from headwater.corpus.step import Candidate
from headwater.corpus.tasks.texts import Texts, read_texts
from headwater.corpus.tasks.work import COLUMNS
from headwater.corpus.tasks.worker_context import WorkerContext

COLUMNS_FILE = "columns.parquet"


def read_and_measure(context: WorkerContext, number: int) -> None:
    """Do the first task of a slice: read its texts, and measure them with our measures that are not there yet."""
    names = [name for name in context.work.missing_measures(number, COLUMNS) if name in OURS]
    with _measuring(context, number, names) as measure:
        read_texts(context, number, measure)


def measure_texts(context: WorkerContext, number: int, stage: str = COLUMNS) -> None:
    """Do the task of a slice: read its texts once for all measures of the stage that are not there yet."""
    work = context.work
    with _measuring(context, number, work.missing_measures(number, stage)) as measure:
        for _, documents in Texts(work, work.plan.parts[number], reads_all=True).batches():
            measure([Candidate(document, context.hasher) for document in documents])


@contextmanager
def _measuring(
    context: WorkerContext, number: int, names: Sequence[str]
) -> Iterator[Callable[[Sequence[Candidate]], None]]:
    """Yield what measures documents of a slice, in their order; the tables are there when the block ends."""
    work = context.work
    with ExitStack() as stack:
        tables = []
        for name in names:
            measure = context.measure(name)
            output = stack.enter_context(work.new_output(work.columns_of(name, number)))
            tables.append((measure, stack.enter_context(output.table(COLUMNS_FILE, schema_of(measure)))))

        def write(candidates: Sequence[Candidate]) -> None:
            for measure, table in tables:
                table.write_table(pa.Table.from_batches([measured(measure, candidates)]))

        yield write
