"""Arrow files and streams, Feather among them: one document a row. Hugging Face data sets are folders of such."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.jsonl import META_FIELDS, TEXT_FIELDS, record_meta
from headwater.corpus.read.limits import RECORD_BYTES, Expansion, ReadLimits, Unusable

_FILE_MAGIC = b"ARROW1"
_CARD = "dataset_info.json"  # beside the files of a Hugging Face data set
_MAX_CARD_BYTES = 10_000_000


def read_arrow(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row; those before the damage in a damaged file.

    Raises Unusable: not_arrow, damaged_arrow, no_text, not_utf8, expands_too_far.
    """
    shared = _card(file)
    try:
        with pa.memory_map(str(file.path)) as source:
            is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            source.seek(0)
            reader: Any = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader)
            yield from _rows(file, reader.schema, batches, shared)
    except pa.ArrowMemoryError:
        raise
    except UnicodeDecodeError as error:
        raise Unusable("not_utf8") from error
    except (pa.ArrowException, OSError, IndexError) as error:
        raise Unusable("damaged_arrow") from error


def _rows(file: InputFile, schema: Any, batches: Iterator[Any], shared: dict[str, str]) -> Iterator[Document | Drop]:
    column = next((name for name in TEXT_FIELDS if holds_text(schema, name)), None)
    if column is None:
        raise Unusable("no_text")
    kept = [name for name in META_FIELDS if holds_text(schema, name)]
    expansion, file_bytes = Expansion(), file.num_bytes
    number = 0
    for batch in batches:
        batch.validate(full=True)  # offsets beyond the buffers end the process otherwise
        for row in range(batch.num_rows):
            text, part = batch.column(column)[row].as_py(), f"#{number}"
            number += 1
            expansion.add_(max(RECORD_BYTES, len(text or "")), file_bytes)
            if text is None:
                yield file.drop("no_text", 0, part)
                continue
            said = record_meta({name: batch.column(name)[row].as_py() for name in kept})
            yield file.document(text, part, **{**shared, **said})


def holds_text(schema: Any, name: str) -> bool:
    """Return whether a schema has one column of that name, and strings in it."""
    if schema.names.count(name) != 1:
        return False
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _card(file: InputFile) -> dict[str, str]:
    """Return the licence that a data set's own description names."""
    path = file.path.with_name(_CARD)
    try:
        if path.stat().st_size > _MAX_CARD_BYTES:
            return {}
        card = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    licence = card.get("license") if isinstance(card, dict) else None
    return {"licence": licence.strip()[:100]} if isinstance(licence, str) and licence.strip() else {}
