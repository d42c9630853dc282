"""A file to read: where it is, how it is named in the corpus, and its bytes, decompressed as they stream."""

from __future__ import annotations

import io
import lzma
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.formats import compression_of
from headwater.corpus.read.limits import MAX_TITLE_CHARACTERS, Expansion, Unusable

BLOCK_BYTES = 1 << 20
NO_PERMISSION = "no_permission"
_XZ_MEMORY_BYTES = 128 << 20  # a file says how much it needs: one of `xz -9` 65 MiB, a hostile one 4 GiB
_COMPRESSED_BLOCK_BYTES = 1 << 16  # what is lost before the damage in a damaged file
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "bz2": b"BZh", "xz": b"\xfd7zX"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of a source. `origin` names it in the corpus, `kind` is that of the documents in it."""

    path: Path
    origin: str
    source: str
    kind: str

    @property
    def num_bytes(self) -> int:
        return self.path.stat().st_size

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Yield the file's bytes, decompressed where its name says so.

        Raises Unusable for a compressed file that isn't what its name says, is damaged or cut short, or holds far
        more than text can.
        """
        compression = compression_of(self.path.name)
        with open(self.path, "rb") as file:
            if compression is None:
                yield file
                return
            if file.read(4)[: len(_MAGIC[compression])] != _MAGIC[compression]:
                raise Unusable(f"not_{compression}")
            file.seek(0)
            try:
                yield io.BufferedReader(_Decompressed(file, compression), _COMPRESSED_BLOCK_BYTES)
            except (lzma.LZMAError, EOFError) as error:
                raise Unusable(f"damaged_{compression}") from error
            except OSError as error:
                if error.errno is not None:  # of the disk, not of the decompressor
                    raise
                raise Unusable(f"damaged_{compression}") from error

    def document(self, text: str, part: str = "", **meta: str) -> Document:
        """Return a document of this file; `part` tells several of one file apart."""
        if "title" in meta:
            meta["title"] = meta["title"][:MAX_TITLE_CHARACTERS]
        return Document(text, self.source, f"{self.origin}{part}", self.origin, self.kind, meta)

    def drop(self, reason: str, num_bytes: int, part: str = "", excerpt: str = "") -> Drop:
        return Drop(reason, self.source, f"{self.origin}{part}", self.origin, num_bytes, excerpt)


@dataclass(frozen=True, slots=True)
class Member(InputFile):
    """A file in an archive: `path` is no more than its name there, its bytes are in memory."""

    data: bytes

    @property
    def num_bytes(self) -> int:
        return len(self.data)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.data)


class _Decompressed(io.RawIOBase):
    """What a compressed file holds; reading raises Unusable when it is out of proportion to the file."""

    def __init__(self, file: IO[bytes], compression: str) -> None:
        self._file = file
        self._stream = _Xz(file) if compression == "xz" else _arrow_stream(file, compression)
        self._expansion = Expansion()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = int(self._stream.readinto(buffer))
        self._expansion.add_(count, self._file.tell())
        return count


def _arrow_stream(file: IO[bytes], compression: str) -> Any:
    import pyarrow as pa  # most files are not compressed, and it takes a tenth of a second

    return pa.CompressedInputStream(file, compression)


class _Xz(io.RawIOBase):
    """What an xz file holds, its streams one after another, by a decompressor with bounded memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = self._new()
        self._rest = b""

    def _new(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data.lstrip(b"\0") or self._file.read(_COMPRESSED_BLOCK_BYTES)
                rest = rest.lstrip(b"\0")  # padding between streams
                if not rest:
                    return 0
                self._decompressor, self._rest = self._new(), rest
            elif self._decompressor.needs_input and not self._rest:
                self._rest = self._file.read(_COMPRESSED_BLOCK_BYTES)
                if not self._rest:
                    raise EOFError
            data = self._decompressor.decompress(self._rest, len(buffer))
            self._rest = b""
            if data:
                buffer[: len(data)] = data
                return len(data)


def reason_not_readable(path: Path) -> str | None:
    """Return why a path can't be read as a file, or None. A pipe or a device is never opened: it may never end.

    A folder is given only where it couldn't be listed (read.walk).
    """
    try:
        status = path.stat()
    except PermissionError:
        return NO_PERMISSION
    except (OSError, ValueError):
        return "unreadable"
    if stat.S_ISDIR(status.st_mode):
        return "unreadable" if os.access(path, os.R_OK | os.X_OK) else NO_PERMISSION
    if not stat.S_ISREG(status.st_mode):
        return "not_a_file"
    if status.st_size == 0:
        return "empty"
    return None if os.access(path, os.R_OK) else NO_PERMISSION
