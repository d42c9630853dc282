"""Parquet: one document a row."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.arrow import rows, table_columns
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable

_ROWS_AT_A_TIME = 16  # each may be large
_READ_BYTES = 1 << 20  # of a column at a time: by default all of it, which may be a gigabyte


def read_parquet(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row.

    Raises Unusable: not_parquet, damaged_parquet, no_text, not_utf8, expands_too_far.
    """
    with open(file.path, "rb") as stream:
        if stream.read(4) != b"PAR1":
            raise Unusable("not_parquet")
    try:
        with pq.ParquetFile(file.path, buffer_size=_READ_BYTES) as table:
            columns = table_columns(file, table.schema_arrow, limits)
            batches = table.iter_batches(_ROWS_AT_A_TIME, columns=columns, use_threads=False)
            yield from rows(file, batches, columns, table.schema_arrow.names)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Unusable("damaged_parquet") from error
    except UnicodeDecodeError as error:
        raise Unusable("not_utf8") from error
