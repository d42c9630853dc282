"""The texts of headwater.corpus.samples, and the files of packages that were fetched, as documents of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headwater.core.conversations import as_text
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.files import limits_of
from headwater.corpus.read.input import InputFile, pieces_of, read_here
from headwater.corpus.read.limits import ReadLimits, limited_meta
from headwater.corpus.samples.almanac.questions import capital_conversations, for_examples, split_countries
from headwater.corpus.samples.almanac.write import almanac_documents
from headwater.corpus.samples.fetch.fetched import FetchedPackage
from headwater.corpus.samples.packages.installed import package_folder, package_texts
from headwater.corpus.samples.packages.python import docstrings, help_topics, library_files
from headwater.corpus.samples.texts import SampleText, Unreadable
from headwater.corpus.sources.settings import CorpusSettings


def shipped_pieces(name: str, settings: CorpusSettings) -> Iterator[Document | Drop]:
    """Yield the pieces of a source that comes with a package or with Python.

    Raises DataError when a package, or for almanac and capitals the World Factbook, isn't installed.
    """
    source = settings.sources[name]
    kind = source.kind
    if source.package is not None:
        texts = package_texts(source.package, package_folder(source.package, name), name)
        yield from (_document(text, name, kind) for text in texts)
    elif source.builtin == "python-library":
        yield from read_library(name, kind, limits_of(settings, source))
    elif source.builtin == "python-documentation":
        yield from read_documentation(name, kind)
    elif source.builtin == "almanac":
        yield from (_document(text, name, kind) for text in almanac_documents(settings.seed))
    elif source.builtin == "capitals":
        for number, messages in enumerate(capital_conversations(for_examples(split_countries(settings.seed)))):
            yield Document(as_text(messages), name, f"capitals-{number:04d}", "capitals", kind)


def read_library(source: str, kind: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document a module of Python's library, or sections; its group ties it to its documentation."""
    for path, origin in library_files():
        for piece in pieces_of(InputFile(path, origin, source, kind), read_here, limits):
            if isinstance(piece, Document):
                piece = replace(piece, meta={**piece.meta, "group": origin})
            yield piece


def read_documentation(source: str, kind: str) -> Iterator[Document | Drop]:
    """Yield a document a help topic of Python, then a document of docstrings a module of its library."""
    for topic in help_topics():
        yield _document(topic, source, kind)
    for path, origin in library_files():
        file = InputFile(path, origin, source, kind)
        try:
            text = docstrings(path.read_text(encoding="utf-8"), origin.removeprefix("python/"))
        except (SyntaxError, ValueError):
            yield file.drop("not_python", file.num_bytes, "#docstrings")
            continue
        if text:
            yield file.document(text, "#docstrings", group=origin)


def fetched_pieces(
    package: FetchedPackage, path: Path, origin: str, source: str, kind: str, max_bytes: int
) -> Iterator[Document | Drop] | None:
    """Return the pieces of a package's file in a form that its name doesn't tell; None for one whose name does."""
    texts = package.texts(path, origin, source, max_bytes)
    return None if texts is None else _readable(texts, InputFile(path, origin, source, kind))


def _readable(texts: Iterator[SampleText], file: InputFile) -> Iterator[Document | Drop]:
    try:
        for text in texts:
            yield _document(text, file.source, file.kind)
    except Unreadable as error:
        yield file.drop(error.reason, file.num_bytes)


def _document(text: SampleText, source: str, kind: str) -> Document:
    return Document(text.text, source, text.id, text.origin, kind, limited_meta(text.meta))
