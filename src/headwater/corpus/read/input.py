"""A file to read: where it is, how it is named in the corpus, and its bytes, decompressed as they stream."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from headwater.core.code import load_code
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.read.decompress import DAMAGES, SEARCH_BYTES, Decompressed, begins_so
from headwater.corpus.read.limits import ReadLimits, Unusable, bounded, limited_meta
from headwater.corpus.sources.formats import Format, compression_of, conversion_hint, format_of
from headwater.corpus.sources.own_code import FORMATS_GROUP
from headwater.corpus.sources.settings import CONVERSATIONS

BLOCK_BYTES = 1 << 20
Stream = io.BufferedReader | io.BytesIO
NO_PERMISSION = "no_permission"
_BUFFER_BYTES = 1 << 16  # of decompressed text


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of a source. `origin` names it in the corpus, `kind` is that of the documents in it.

    Where it is read in slices `within` has the first byte of this one, that behind its last, which bound what begins
    there, and the number of lines before.
    """

    path: Path
    origin: str
    source: str
    kind: str
    within: tuple[int, int, int] | None = field(default=None, kw_only=True)

    @property
    def num_bytes(self) -> int:
        return self.path.stat().st_size

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """Yield the file's bytes, decompressed where its name says so.

        Raises Unusable for a compressed file that isn't what its name says, is damaged or cut short, or holds far
        more than text can: not before all that precedes the damage was read.
        """
        compression = compression_of(self.path.name)
        with open(self.path, "rb") as file:
            if compression is None:
                yield file
                return
            if not begins_so(file.read(SEARCH_BYTES), compression):
                raise Unusable(f"not_{compression}")
            file.seek(0)
            try:
                yield io.BufferedReader(Decompressed(file, compression), _BUFFER_BYTES)
            except (*DAMAGES, OSError) as error:
                raise _damage(error, compression) from error

    def read_on(self, read: Callable[[Stream], Iterator[Document | Drop]]) -> Iterator[Document | Drop]:
        """Yield what `read` makes of the file's bytes, as `open` gives them, and a drop for each damaged stream in
        them: `read` is called again for what stands behind it.
        """
        compression = compression_of(self.path.name)
        with self.open() as stream:
            goes_on = True
            while goes_on:
                try:
                    yield from read(stream)
                    return
                except (*DAMAGES, OSError) as error:
                    raw = getattr(stream, "raw", None)
                    if compression is None or not isinstance(raw, Decompressed):
                        raise
                    damage, at = _damage(error, compression), raw.tell()
                    num_bytes, goes_on = raw.skip_damaged()
                part = f"#{at}/damage" if goes_on else "#rest"
                if self.begin_record(part, num_bytes):
                    yield self.drop_for(damage, num_bytes, part)

    def head(self, max_bytes: int) -> bytes:
        """Return the first bytes, as `open` gives them; fewer where a damage comes before. Raises as it does."""
        blocks: list[bytes] = []
        try:
            with self.open() as stream:
                while max_bytes and (block := stream.read1(max_bytes)):
                    blocks.append(block)
                    max_bytes -= len(block)
        except Unusable:
            if not blocks:
                raise
        return b"".join(blocks)

    def read_whole(self, max_bytes: int) -> bytes:
        """Return all bytes, as `open` gives them; raises Unusable(file_too_large) where there are more than that."""
        with self.open() as stream:
            data = stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise Unusable("file_too_large")
        return data

    def begin_record(self, part: str, num_bytes: int = 0, excerpt: str = "") -> bool:
        """Say that a record is parsed next, so that one that ends the parser costs that record (read.sandbox).

        Return False where it isn't wanted, and is passed over.
        """
        return True

    def still_reading(self) -> None:
        """Say that the file is read on, though nothing came of it yet: a parser has some time for each answer."""

    def document(self, text: str, part: str = "", /, **meta: str) -> Document:
        """Return a document of this file; `part` tells several of one file apart, and empty metadata isn't kept."""
        return Document(text, self.source, f"{self.origin}{part}", self.origin, self.kind, limited_meta(meta))

    def drop(self, reason: str, num_bytes: int, part: str = "", excerpt: str = "", because: str = "") -> Drop:
        return Drop(reason, self.source, f"{self.origin}{part}", self.origin, num_bytes, excerpt, because=because)

    def drop_for(self, error: Unusable, num_bytes: int, part: str = "") -> Drop:
        return self.drop(error.reason, num_bytes, part, error.excerpt, error.because)


@dataclass(frozen=True, slots=True)
class Member(InputFile):
    """A file in an archive: `path` is no more than its name there, its bytes are in memory."""

    data: bytes

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    @contextmanager
    def open(self) -> Iterator[Stream]:
        yield io.BytesIO(self.data)


def _damage(error: Exception, compression: str) -> Unusable:
    """Return what an error of a decompressor says of a file; raise it again if it is of the disk."""
    if getattr(error, "errno", None) is not None:
        raise error
    return Unusable(f"damaged_{compression}", "the file is cut short" if isinstance(error, EOFError) else str(error))


def reason_not_readable(path: Path) -> str | None:
    """Return why a path can't be read as a file, or None. A pipe or a device is never opened: it may never end.

    A folder is given only where it couldn't be listed (read.walk).
    """
    try:
        status = path.stat()
    except PermissionError:
        return NO_PERMISSION
    except (OSError, ValueError):
        return "broken_link" if os.path.islink(path) else "unreadable"
    if stat.S_ISDIR(status.st_mode):
        return "unreadable" if os.access(path, os.R_OK | os.X_OK) else NO_PERMISSION
    if not stat.S_ISREG(status.st_mode):
        return "not_a_file"
    if status.st_size == 0:
        return "empty"
    return None if os.access(path, os.R_OK) else NO_PERMISSION


Read = Callable[[InputFile, ReadLimits], Iterator[Document | Drop]]


def reader_of(form: Format) -> Read:
    """Return what reads a format, its module imported or its own code run."""
    if form.is_own:
        kind: Any = load_code(form.reader, Path(), FORMATS_GROUP)  # an OwnFormat: read.own has looked
        own: Read = kind().pieces
        return own
    module, _, function = form.reader.partition(".")
    read: Read = getattr(import_module(f"headwater.corpus.read.{module}"), function)
    return read


def read_here(file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Return the pieces of a file by its format's reader. Raises Unusable, OSError, MemoryError, also on the way."""
    return reader_of(limits.format(file_format))(file, limits)


def parse(file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the pieces of a file, bounded, as `sandbox` does in a process of its own. Raises as `read_here`."""
    yield from bounded(read_here(file, file_format, limits), limits.max_document_characters)


ReadAs = Callable[[InputFile, str, ReadLimits], Iterator[Document | Drop]]


def pieces_of(file: InputFile, read: ReadAs, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield what `read` gives of a file in the format of its name; whatever is wrong with it is a drop with a reason.

    Such a drop has the bytes of the file that no piece before it accounts for. Of a file that is read in slices the
    first one drops it, where nothing of it can be read.
    """
    left, rest = 0, ""
    file_format = format_of(file.path.name, limits.own_formats)
    form = limits.format(file_format)
    try:
        left = file.num_bytes
        if file.kind == CONVERSATIONS and not form.conversations:
            raise Unusable("unknown_format", "conversations are read from JSON lines (.jsonl) and JSON")
        if not form.reader:
            raise Unusable("unknown_format", conversion_hint(file_format, file.path.name))
        for piece in bounded(read(file, file_format, limits), limits.max_document_characters):
            if not rest and file.within is not None:
                left = file.within[1] - file.within[0]
            left, rest = left - (num_bytes(piece.text) if isinstance(piece, Document) else piece.num_bytes), "#rest"
            yield piece
        if not rest and file.within is None:
            yield file.drop("empty", left)
    except Unusable as error:
        if file.within is not None and not rest and file.within[0]:
            return
        if file_format == "unknown" and error.reason in ("binary", "not_utf8"):
            error = Unusable("unknown_format")
        yield file.drop_for(error, max(left, 0), rest)
    except OSError as error:
        reason = NO_PERMISSION if isinstance(error, PermissionError) else "unreadable"
        yield file.drop(reason, max(left, 0) if rest else 0, rest)
