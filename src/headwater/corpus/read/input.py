"""A file to read: where it is, how it is named in the corpus, and its bytes, decompressed as they stream."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.formats import compression_of

BLOCK_BYTES = 1 << 20
_COMPRESSED_BLOCK_BYTES = 1 << 16  # what is lost before the damage in a damaged file
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


class Unusable(Exception):
    """A file can't be used (any further); the reason is what the balance sheet shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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

        Raises Unusable for a compressed file that isn't what its name says or is damaged or cut short.
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
                yield io.BufferedReader(pa.CompressedInputStream(file, compression), _COMPRESSED_BLOCK_BYTES)  # type: ignore[type-var]
            except OSError as error:
                if error.errno is not None:  # of the disk, not of the decompressor
                    raise
                raise Unusable(f"damaged_{compression}") from error

    def document(self, text: str, part: str = "", **meta: str) -> Document:
        """Return a document of this file; `part` tells several of one file apart."""
        return Document(text, self.source, f"{self.origin}{part}", self.origin, self.kind, meta)

    def drop(self, reason: str, num_bytes: int, part: str = "", excerpt: str = "") -> Drop:
        return Drop(reason, self.source, f"{self.origin}{part}", self.origin, num_bytes, excerpt)


def reason_not_readable(path: Path) -> str | None:
    """Return why a path can't be read as a file, or None. A pipe or a device is never opened: it may never end."""
    try:
        status = path.stat()
    except OSError:
        return "unreadable"
    if not stat.S_ISREG(status.st_mode):
        return "not_a_file"
    if status.st_size == 0:
        return "empty"
    return None if os.access(path, os.R_OK) else "unreadable"
