"""One source as a stream of documents and drops: finds the reader for each file, and lets no bad file stop it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from headwater.core.errors import DataError
from headwater.core.stores import is_address
from headwater.corpus.document import Document, Drop
from headwater.corpus.licences.tree import TreeLicences, with_licence
from headwater.corpus.personal.replace import redact_columns
from headwater.corpus.read.blocked import without_blocked
from headwater.corpus.read.files import Splits, limits_of, setting_of, source_files
from headwater.corpus.read.input import InputFile, pieces_of, read_here, reason_not_readable
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.read.remote import copied
from headwater.corpus.read.sandbox import Sandbox
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.source_paths import Repositories
from headwater.corpus.sources.formats import compression_of, format_of, kind_of
from headwater.corpus.sources.settings import CorpusSettings

Piece = Document | Drop


def read_source(name: str, settings: CorpusSettings) -> Iterator[Piece]:
    """Yield everything that the source `name` holds, in the same order every time.

    A document longer than max_document_characters arrives as several. Raises DataError for a path that doesn't
    exist; a file that can't be used is a drop.
    """
    yield from read_files(source_files(name, settings), name, settings)


def read_files(files: Iterable[ListedFile], name: str, settings: CorpusSettings) -> Iterator[Piece]:
    """Yield what is in some of the files of the source `name`, as `read_source` does; a skipped one is a drop."""
    pieces = without_blocked(_pieces_of_files(files, name, settings), limits_of(settings, settings.sources[name]))
    yield from _without_personal_columns(pieces, settings)


def _without_personal_columns(pieces: Iterator[Piece], settings: CorpusSettings) -> Iterator[Piece]:
    """Yield the pieces, what is redacted in texts also redacted in what stands beside them."""
    if settings.redact is None:
        yield from pieces
        return
    for piece in pieces:
        if isinstance(piece, Document) and piece.meta:
            piece = replace(piece, meta=redact_columns(piece.meta, settings.redact.kinds))
        yield piece


def _pieces_of_files(files: Iterable[ListedFile], name: str, settings: CorpusSettings) -> Iterator[Piece]:
    source = settings.sources[name]
    limits = limits_of(settings, source)
    splits = Splits(name, source)
    repositories = Repositories(source.paths or [])
    trees = TreeLicences(source.paths or []) if settings.licences is not None else None
    with Sandbox() as sandbox:
        for path, origin, skipped, because, start, end, before in files:
            if skipped:
                yield Drop(skipped, name, origin, origin, 0, because=because)
                continue
            if excluded := splits.drop_of(path, origin):
                yield excluded
                continue
            with copied(origin, setting_of(name)) if is_address(origin) else nullcontext(path) as local:
                pieces = _read_local(local, origin, name, source.kind, limits, sandbox, (start, end, before))
                if trees is not None:
                    licence, file = trees.found_for(path, origin)
                    pieces = (with_licence(piece, licence, file) for piece in pieces)
                yield from repositories.grouped(pieces, path, origin)


def _read_local(
    path: Path,
    origin: str,
    source: str,
    source_kind: str,
    limits: ReadLimits,
    sandbox: Sandbox,
    within: tuple[int, int, int] = (0, 0, 0),
) -> Iterator[Piece]:
    """Yield the documents of one file, or slice; whatever is wrong with it becomes a drop with a reason."""
    kind = kind_of(format_of(path.name, limits.own_formats), source_kind)
    file = InputFile(path, origin, source, kind, within=within if within[1] else None)
    reason = reason_not_readable(path)
    if reason is not None:
        yield file.drop(reason, 0)
        return
    yield from pieces_of(file, partial(_read, sandbox), limits)


def _read(sandbox: Sandbox, file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Piece]:
    form = limits.format(file_format)
    if form.on_disk and compression_of(file.path.name) is not None:
        raise Unusable("unknown_format", f"a compressed {file_format} file is not read; decompress it")
    if form.needs and find_spec(form.needs) is None:  # a corpus must not depend on what is installed
        raise DataError(
            f"source {file.source!r}: {file.origin} can't be read without {form.needs}; "
            "`pip install headwater[corpus]` installs it, or leave such files out of `paths`"
        )
    return (sandbox.read if form.isolated else read_here)(file, file_format, limits)
