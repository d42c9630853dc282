"""What is in the files of a corpus' sources: digests that its build took; they hold while size and time do."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from headwater.core.stores import is_address
from headwater.corpus.read.input import reason_not_readable
from headwater.corpus.read.remote import version_of

FILES = "files.parquet"
_SCHEMA = pa.schema([(name, pa.string()) for name in ("source", "origin", "identity", "content")])


class Content(NamedTuple):
    """Of a file of a source: what it was known by when it was read, and the digest of what was read."""

    source: str
    origin: str
    identity: str
    content: str


class FileContents:
    """The contents of files by source and name."""

    def __init__(self, found: Iterable[Content] = ()) -> None:
        self._known = {(each.source, each.origin): each for each in found}

    @classmethod
    def of_corpus(cls, corpus_dir: Path) -> FileContents:
        """Return those that a corpus keeps; none where it isn't there, or damaged: its files are then read again."""
        try:
            table = pq.read_table(corpus_dir / FILES, page_checksum_verification=True)
            return cls(Content(**row) for row in table.to_pylist())
        except (OSError, TypeError, pa.ArrowInvalid):
            return cls()

    def of(self, source: str, path: Path, origin: str) -> str:
        """Return the digest of a file; where none is known what stands for it.

        A file of another time and the same size may have been touched, or copied: it is read to tell.
        """
        identity = identity_of(path, origin)
        known = self._known.get((source, origin))
        if known is not None and known.identity == identity:
            return known.content
        if known is not None and not is_address(origin) and known.identity.split(" ")[0] == identity.split(" ")[0]:
            return content_of(path, origin)
        return f"unread {identity}"

    def table(self) -> pa.Table:
        return pa.Table.from_pylist([each._asdict() for each in self._known.values()], _SCHEMA)


def identity_of(path: Path, origin: str) -> str:
    """Return what changes when a file does, without reading it: size and time, or what its store says of a version."""
    if is_address(origin):
        return version_of(origin, "a file of the corpus")
    try:
        status = path.stat()
    except (OSError, ValueError):  # its reader says what is wrong with it
        return "unreadable"
    # of a file of the system's (/proc) the time is that of asking, and its size is 0
    return f"{status.st_size} {status.st_mtime_ns if status.st_size else 0}"


def content_of(path: Path, origin: str) -> str:
    """Return the digest of what is in a file, or why it can't be read."""
    if is_address(origin):
        return version_of(origin, "a file of the corpus")
    if (reason := reason_not_readable(path)) is not None:
        return reason
    try:
        with open(path, "rb") as file:
            return file_digest(file, xxhash.xxh3_128).hexdigest()
    except OSError:  # of the disk: the reader drops the file, too
        return "unreadable"
