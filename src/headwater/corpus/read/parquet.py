"""Parquet: one document a row, from the column "text" or "content"."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile, Unusable
from headwater.corpus.read.jsonl import TEXT_FIELDS

_ROWS_AT_A_TIME = 256


def read_parquet(file: InputFile) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row. Raises Unusable: not_parquet, damaged_parquet, no_text."""
    with open(file.path, "rb") as stream:
        if stream.read(4) != b"PAR1":
            raise Unusable("not_parquet")
    try:
        with pq.ParquetFile(file.path) as table:
            column = next((name for name in TEXT_FIELDS if _holds_text(table.schema_arrow, name)), None)
            if column is None:
                raise Unusable("no_text")
            batches = table.iter_batches(_ROWS_AT_A_TIME, columns=[column])
            for number, text in enumerate(text for batch in batches for text in batch.column(0).to_pylist()):
                part = f"#{number}"
                yield file.drop("no_text", 0, part) if text is None else file.document(text, part)
    except (pa.ArrowException, OSError) as error:
        raise Unusable("damaged_parquet") from error
    except UnicodeDecodeError as error:
        raise Unusable("not_utf8") from error


def _holds_text(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
