"""One source as a stream of documents and drops: finds the reader for each file, and lets no bad file stop it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.builtin import read_documentation, read_library
from headwater.corpus.read.formats import compression_of, format_of, kind_of
from headwater.corpus.read.input import InputFile, reason_not_readable
from headwater.corpus.read.limits import ReadLimits, Unusable, bounded
from headwater.corpus.read.packages import read_package
from headwater.corpus.read.parse import PARSED_FORMATS
from headwater.corpus.read.plain import read_plain
from headwater.corpus.read.sandbox import Sandbox
from headwater.corpus.read.walk import find_files
from headwater.corpus.settings import CorpusSettings, SourceSettings
from headwater.errors import DataError

Piece = Document | Drop

_PARSERS = {"pdf": "pypdfium2"}


def read_source(name: str, settings: CorpusSettings) -> Iterator[Piece]:
    """Yield everything that the source `name` holds, in the same order every time.

    A document longer than max_document_characters arrives as several. Raises DataError for a path that doesn't
    exist or a package that isn't installed; a file that can't be used is a drop.
    """
    source = settings.sources[name]
    limits = ReadLimits(settings.max_document_characters, settings.max_line_bytes, settings.max_file_bytes)
    if source.paths is None:
        yield from bounded(_shipped(name, source, settings), limits.max_document_characters)
        return
    with Sandbox() as sandbox:
        for path, origin in find_files(source.paths, name):
            yield from read_file(path, origin, name, source.kind, limits, sandbox)


def _shipped(name: str, source: SourceSettings, settings: CorpusSettings) -> Iterator[Piece]:
    """Yield the pieces of a source that comes with a package or with Python."""
    if source.package is not None:
        yield from read_package(source.package, name, source.kind)
    elif source.builtin == "python-library":
        yield from read_library(name, source.kind, settings.max_document_characters)
    elif source.builtin == "python-documentation":
        yield from read_documentation(name, source.kind)
    elif source.builtin == "almanac":
        yield from _almanac(name, source.kind, settings.seed)


def _almanac(name: str, kind: str, seed: int) -> Iterator[Document]:
    from headwater.corpus.almanac.write import almanac_documents

    for document in almanac_documents(seed):
        yield Document(document.text, name, document.id, document.origin, kind, document.meta)


def read_file(
    path: Path, origin: str, source: str, source_kind: str, limits: ReadLimits, sandbox: Sandbox
) -> Iterator[Piece]:
    """Yield the documents of one file; whatever is wrong with it becomes a drop with a reason."""
    file_format = format_of(path.name)
    file = InputFile(path, origin, source, kind_of(file_format, source_kind))
    reason = reason_not_readable(path)
    if reason is not None:
        yield file.drop(reason, 0)
        return
    num_bytes = 0  # of a file that gave documents before its damage: counted with those
    is_first = True
    try:
        num_bytes = file.num_bytes
        for piece in bounded(_read(file, file_format, limits, sandbox), limits.max_document_characters):
            is_first = False
            yield piece
        if is_first:
            yield file.drop("empty", num_bytes)
    except Unusable as error:
        not_text = file_format == "unknown" and error.reason in ("binary", "not_utf8")
        reason = "unknown_format" if not_text else error.reason
        yield file.drop(reason, num_bytes if is_first else 0, "" if is_first else "#rest")
    except OSError:
        yield file.drop("unreadable", 0, "" if is_first else "#rest")


def _require_parser(file: InputFile, file_format: str) -> None:
    """Raise DataError where a parser isn't installed: which documents a corpus has must not depend on it."""
    package = _PARSERS.get(file_format)
    if package is not None and find_spec(package) is None:
        raise DataError(
            f"source {file.source!r}: {file.origin} can't be read without {package}; "
            "`pip install headwater[corpus]` installs it, or leave such files out of `paths`"
        )


def _read(file: InputFile, file_format: str, limits: ReadLimits, sandbox: Sandbox) -> Iterator[Piece]:
    is_compressed = compression_of(file.path.name) is not None
    if file_format == "unsupported" or (file_format in ("parquet", "sqlite", "arrow") and is_compressed):
        raise Unusable("unknown_format")
    if file_format in PARSED_FORMATS:
        _require_parser(file, file_format)
        return sandbox.read(file, file_format, limits)
    return read_plain(file, file_format, limits)
