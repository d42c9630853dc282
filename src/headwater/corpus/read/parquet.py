"""Parquet: one document a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.arrow import Group, rows, table_columns
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable

_ROWS_AT_A_TIME = 16  # each may be large
_READ_BYTES = 1 << 20  # of a column at a time: by default all of it, which may be a gigabyte


def read_parquet(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row; what is damaged costs the rest of its row group.

    Raises Unusable: not_parquet, damaged_parquet, no_text, expands_too_far.
    """
    with open(file.path, "rb") as stream:
        if stream.read(4) != b"PAR1":
            raise Unusable("not_parquet")
    try:
        with pq.ParquetFile(file.path, buffer_size=_READ_BYTES) as table:
            columns = table_columns(file, table.schema_arrow, limits)
            groups = (_group(table, number, columns) for number in range(table.num_row_groups))
            yield from rows(file, groups, columns, table.schema_arrow.names, limits)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Unusable("damaged_parquet") from error


def _group(table: Any, number: int, columns: list[str]) -> Group:
    batches = table.iter_batches(_ROWS_AT_A_TIME, row_groups=[number], columns=columns, use_threads=False)
    known = table.metadata.row_group(number)
    return Group(batches, known.num_rows, known.total_byte_size)
