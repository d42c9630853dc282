"""The formats whose parsers are large programs that foreign bytes may crash: one function for all, in this process.

`sandbox` calls it in a process of its own. A parser is imported when its format is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ReadLimits, bounded

PARSED_FORMATS = ("archive", "arrow", "csv", "epub", "html", "json", "notebook", "parquet", "pdf", "warc", "xml")


def parse(file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the pieces of a file by read_FORMAT of read.FORMAT. Raises Unusable, OSError, MemoryError."""
    assert file_format in PARSED_FORMATS, file_format
    module = import_module(f"headwater.corpus.read.{file_format}")
    read = getattr(module, f"read_{file_format}")
    yield from bounded(read(file, limits), limits.max_document_characters)
