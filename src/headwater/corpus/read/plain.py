"""The formats that Python's own decoders read, a block or a line at a time, in whichever process asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.gutenberg import Boilerplate
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.jsonl import read_jsonl
from headwater.corpus.read.limits import ReadLimits
from headwater.corpus.read.markdown import read_markdown
from headwater.corpus.read.markup import markup_metadata
from headwater.corpus.read.text import read_text


def read_plain(file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the pieces of a file in none of parse.PARSED_FORMATS; what has no format known is read as text.

    Raises Unusable with the reason.
    """
    if file_format == "jsonl":
        return read_jsonl(file, limits.max_line_bytes, limits.text_column)
    if file_format == "markdown":
        return read_markdown(file, limits)
    if file_format == "text" and file.kind == "books":
        return _read_book(file, limits)
    if file_format == "text":
        return _read_marked_up(file, limits)
    return read_text(file, limits.max_document_characters)


def _read_marked_up(file: InputFile, limits: ReadLimits) -> Iterator[Document]:
    meta = markup_metadata(file)
    for document in read_text(file, limits.max_document_characters):
        yield replace(document, meta={**meta, **document.meta}) if meta else document


def _read_book(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    boilerplate = Boilerplate()
    for document in read_text(file, limits.max_document_characters, boilerplate.without):
        yield replace(document, meta={**boilerplate.said, **document.meta}) if boilerplate.said else document
    if boilerplate.num_bytes:
        drop = file.drop("gutenberg_boilerplate", boilerplate.num_bytes, "#boilerplate", boilerplate.excerpt)
        yield replace(drop, num_documents=0)
