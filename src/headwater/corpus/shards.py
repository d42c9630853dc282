"""Documents on disk: JSON lines (id, text, metadata, as datatrove's) under zstd, in shards of bounded size."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from pydantic_core import PydanticSerializationError, to_json

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile
from headwater.corpus.document import Document, Drop

FORMAT = "headwater-corpus"
FORMAT_VERSION = 1
SUFFIX = ".jsonl.zst"
DECISIONS = "decisions"


class ShardWriter:
    """Writes lines to FOLDER/PREFIX00000.jsonl.zst and its successors; a shard holds at least one line.

    The bytes depend on the lines alone. `folder` lies inside a folder made by files.new_folder. `digests` has the
    digest of every shard that is closed, taken while it was written.
    """

    def __init__(self, folder: Path, shard_bytes: int, prefix: str = "") -> None:
        self.digests: dict[Path, str] = {}
        self._folder = folder
        self._prefix = prefix
        self._shard_bytes = shard_bytes
        self._num_shards = 0
        self._written_bytes = 0
        self._file: DigestedFile | None = None
        self._stream: Any = None

    def write(self, line: bytes) -> None:
        if self._stream is None or self._written_bytes + len(line) > self._shard_bytes:
            self._next_shard()
        self._stream.write(line)
        self._written_bytes += len(line)

    def _next_shard(self) -> None:
        self.close()
        self._path = self._folder / f"{self._prefix}{self._num_shards:05d}{SUFFIX}"
        self._file = DigestedFile(self._path)
        self._stream = pa.CompressedOutputStream(self._file, "zstd")
        self._num_shards += 1
        self._written_bytes = 0

    def close(self) -> None:
        stream, file = self._stream, self._file
        self._stream = self._file = None
        if stream is not None and file is not None:
            with file:  # closed even when the disk has no room for the stream's last bytes
                stream.close()
            self.digests[self._path] = file.digest

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def document_line(document: Document) -> bytes:
    metadata = {"source": document.source, "origin": document.origin, "kind": document.kind, **document.meta}
    return _line({"id": document.id, "text": document.text, "metadata": metadata})


def drop_line(drop: Drop) -> bytes:
    metadata = {"source": drop.source, "origin": drop.origin, "reason": drop.reason, "bytes": drop.num_bytes}
    if drop.duplicate_of:
        metadata["duplicate_of"] = drop.duplicate_of
    if drop.because:
        metadata["because"] = drop.because
    return _line({"id": drop.id, "text": drop.excerpt, "metadata": metadata})


def _line(value: Any) -> bytes:
    try:
        return to_json(value) + b"\n"
    except PydanticSerializationError:  # half of a surrogate pair, which UTF-8 doesn't have
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace") + b"\n"


def parse_document(line: bytes) -> Document:
    value = json.loads(line)
    meta = dict(value["metadata"])
    return Document(value["text"], meta.pop("source"), value["id"], meta.pop("origin"), meta.pop("kind"), meta)


def read_lines(folder: Path) -> Iterator[bytes]:
    """Yield the lines of a folder's shards in the order they were written; DataError names a damaged shard."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        yield from read_shard(path)


def read_shard(shard: Path | IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a shard, by its path or opened."""
    try:
        with open(shard, "rb") if isinstance(shard, Path) else shard as file:
            yield from io.BufferedReader(pa.CompressedInputStream(file, "zstd"), 1 << 20)  # type: ignore[type-var]
    except OSError as error:
        raise DataError(f"{shard} can't be read ({error}); build the corpus again") from error
