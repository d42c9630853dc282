"""Parquet: one document a row."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.arrow import rows, table_columns
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, Unusable

_ROWS_AT_A_TIME = 256
_BYTES_AT_A_TIME = 16_000_000
_READ_BYTES = 1 << 20  # of a column at a time: by default all of it, which may be a gigabyte
_MAX_SAID_BYTES = 2000  # of a value, on average: a column of longer ones says nothing of a text, and isn't read


def read_parquet(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row.

    Raises Unusable: not_parquet, damaged_parquet, no_text, not_utf8, expands_too_far.
    """
    with open(file.path, "rb") as stream:
        if stream.read(4) != b"PAR1":
            raise Unusable("not_parquet")
    try:
        with pq.ParquetFile(file.path, buffer_size=_READ_BYTES) as table:
            text, *others = table_columns(file, table.schema_arrow, limits)
            sizes = _bytes_a_row(table)
            columns = [text, *(name for name in others if sizes.get(name, 0) <= _MAX_SAID_BYTES)]
            largest = sum(sizes.get(name, 0) for name in columns)
            num_rows = max(1, min(_ROWS_AT_A_TIME, _BYTES_AT_A_TIME // max(1, largest)))
            batches = table.iter_batches(num_rows, columns=columns, use_threads=False)
            yield from rows(file, batches, columns, table.schema_arrow.names)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Unusable("damaged_parquet") from error
    except UnicodeDecodeError as error:
        raise Unusable("not_utf8") from error


def _bytes_a_row(table: pq.ParquetFile) -> dict[str, int]:
    """Return the bytes of each column's value, on average in the group of rows where it is largest, as the file says.

    A column of lists or records is several leaves.
    """
    metadata = table.metadata
    sizes: dict[str, int] = {}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        found: dict[str, int] = {}
        for place in range(metadata.num_columns):
            name = metadata.schema.column(place).path.partition(".")[0]
            found[name] = found.get(name, 0) + group.column(place).total_uncompressed_size
        for name, size in found.items():
            sizes[name] = max(sizes.get(name, 0), size // max(1, group.num_rows))
    return sizes
