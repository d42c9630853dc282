"""One source as a stream of documents and drops: finds the reader for each file, and lets no bad file stop it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.builtin import read_documentation, read_library
from headwater.corpus.read.formats import compression_of, format_of, kind_of
from headwater.corpus.read.html import read_html
from headwater.corpus.read.input import InputFile, Unusable, reason_not_readable
from headwater.corpus.read.json import read_json
from headwater.corpus.read.jsonl import read_jsonl
from headwater.corpus.read.packages import read_package
from headwater.corpus.read.parquet import read_parquet
from headwater.corpus.read.sections import sections
from headwater.corpus.read.sqlite import read_sqlite
from headwater.corpus.read.text import read_text
from headwater.corpus.read.walk import find_files
from headwater.corpus.settings import CorpusSettings, SourceSettings

Piece = Document | Drop


def read_source(name: str, settings: CorpusSettings) -> Iterator[Piece]:
    """Yield everything that the source `name` holds, in the same order every time.

    A document longer than max_document_characters arrives as several. Raises DataError for a path that doesn't
    exist or a package that isn't installed; a file that can't be used is a drop.
    """
    for piece in _pieces(name, settings.sources[name], settings):
        if isinstance(piece, Drop):
            yield piece
        elif not _is_unicode(piece.text):  # JSON can spell half of a surrogate pair, which no encoding accepts
            num_bytes = len(piece.text.encode("utf-8", "surrogatepass"))
            yield Drop("not_utf8", name, piece.id, piece.origin, num_bytes)
        else:
            yield from _cut(piece, settings.max_document_characters)


def _pieces(name: str, source: SourceSettings, settings: CorpusSettings) -> Iterator[Piece]:
    if source.package is not None:
        yield from read_package(source.package, name, source.kind)
    elif source.builtin == "python-library":
        yield from read_library(name, source.kind, settings.max_document_characters)
    elif source.builtin == "python-documentation":
        yield from read_documentation(name, source.kind)
    elif source.builtin == "almanac":
        yield from _almanac(name, source.kind, settings.seed)
    else:
        for path, origin in find_files(source.paths or [], name):
            yield from read_file(path, origin, name, source.kind, settings)


def _almanac(name: str, kind: str, seed: int) -> Iterator[Document]:
    from headwater.corpus.almanac.write import almanac_documents

    for document in almanac_documents(seed):
        yield Document(document.text, name, document.id, document.origin, kind, document.meta)


def read_file(path: Path, origin: str, source: str, source_kind: str, settings: CorpusSettings) -> Iterator[Piece]:
    """Yield the documents of one file; whatever is wrong with it becomes a drop with a reason."""
    file_format = format_of(path.name)
    file = InputFile(path, origin, source, kind_of(file_format, source_kind))
    reason = reason_not_readable(path)
    if reason is not None:
        yield file.drop(reason, 0)
        return
    is_first = True
    try:
        for piece in _read(file, file_format, settings):
            is_first = False
            yield piece
        if is_first:
            yield file.drop("empty", file.num_bytes)
    except Unusable as error:
        not_text = file_format == "unknown" and error.reason in ("binary", "not_utf8")
        reason = "unknown_format" if not_text else error.reason
        # the bytes of a file that gave documents before the damage are counted with those
        yield file.drop(reason, file.num_bytes if is_first else 0, "" if is_first else "#rest")
    except OSError:
        yield file.drop("unreadable", 0, "" if is_first else "#rest")


def _read(file: InputFile, file_format: str, settings: CorpusSettings) -> Iterator[Piece]:
    if file_format == "unsupported" or (file_format in ("parquet", "sqlite") and compression_of(file.path.name)):
        raise Unusable("unknown_format")
    if file_format == "jsonl":
        return read_jsonl(file, settings.max_line_bytes)
    if file_format == "json":
        return read_json(file, settings.max_file_bytes, settings.max_line_bytes)
    if file_format == "parquet":
        return read_parquet(file)
    if file_format == "sqlite":
        return read_sqlite(file)
    if file_format == "html":
        return read_html(file, settings.max_file_bytes)
    return read_text(file, settings.max_document_characters)


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _cut(document: Document, max_characters: int) -> Iterator[Document]:
    if len(document.text) <= max_characters:
        yield document
        return
    for number, text in enumerate(sections([document.text], max_characters)):
        part = f"{document.id}/{number}"
        yield Document(text, document.source, part, document.origin, document.kind, document.meta)
