"""The formats whose parsers are large programs that foreign bytes may crash: one function for all, in this process.

`sandbox` calls it in a process of its own. A parser is imported when its format is met.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, bounded

PARSED_FORMATS = ("html", "json", "parquet", "sqlite")


def parse(file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the pieces of a file in one of PARSED_FORMATS. Raises Unusable with the reason; OSError; MemoryError."""
    yield from bounded(_pieces(file, file_format, limits), limits.max_document_characters)


def _pieces(file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    if file_format == "html":
        from headwater.corpus.read.html import read_html

        return read_html(file, limits.max_file_bytes)
    if file_format == "json":
        from headwater.corpus.read.json import read_json

        return read_json(file, limits.max_file_bytes, limits.max_line_bytes)
    if file_format == "parquet":
        from headwater.corpus.read.parquet import read_parquet

        return read_parquet(file)
    assert file_format == "sqlite", file_format
    from headwater.corpus.read.sqlite import read_sqlite

    return read_sqlite(file)
