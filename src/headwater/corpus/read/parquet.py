"""Parquet: one document a row, from the column "text" or "content"."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.arrow import holds_text
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.jsonl import META_FIELDS, TEXT_FIELDS, record_meta
from headwater.corpus.read.limits import RECORD_BYTES, Expansion, ReadLimits, Unusable

_ROWS_AT_A_TIME = 256
_BYTES_AT_A_TIME = 16_000_000
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
            column = next((name for name in TEXT_FIELDS if holds_text(table.schema_arrow, name)), None)
            if column is None:
                raise Unusable("no_text")
            yield from _rows(file, table, column)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Unusable("damaged_parquet") from error
    except UnicodeDecodeError as error:
        raise Unusable("not_utf8") from error


def _rows(file: InputFile, table: pq.ParquetFile, column: str) -> Iterator[Document | Drop]:
    expansion, file_bytes = Expansion(), file.num_bytes
    kept = [name for name in META_FIELDS if holds_text(table.schema_arrow, name)]
    batches = table.iter_batches(_rows_at_a_time(table, column), columns=[column, *kept], use_threads=False)
    number = 0
    for batch in batches:
        for row in range(batch.num_rows):  # one value at a time: as a list they would be there twice
            text, part = batch.column(column)[row].as_py(), f"#{number}"
            number += 1
            expansion.add_(max(RECORD_BYTES, len(text or "")), file_bytes)
            said = record_meta({name: batch.column(name)[row].as_py() for name in kept})
            yield file.drop("no_text", 0, part) if text is None else file.document(text, part, **said)


def _rows_at_a_time(table: pq.ParquetFile, column: str) -> int:
    """Return how many rows come to some megabytes, as the file itself says of its columns."""
    metadata = table.metadata
    columns = range(metadata.num_columns)  # leaves: a column of records is several
    place = next(at for at in columns if metadata.schema.column(at).path == column)
    largest = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        largest = max(largest, group.column(place).total_uncompressed_size // max(1, group.num_rows))
    return max(1, min(_ROWS_AT_A_TIME, _BYTES_AT_A_TIME // largest))
