"""What a compressed file holds, as it streams: all that stands before a damage, at any size, and then the error."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any

from headwater.corpus.read.limits import Expansion

DAMAGES = (zlib.error, lzma.LZMAError, EOFError)  # and an OSError without a number, which is no disk's
_XZ_MEMORY_BYTES = 128 << 20  # a file says how much it needs: one of `xz -9` 65 MiB, a hostile one 4 GiB
_BLOCK_BYTES = 1 << 14
_STEP_BYTES = 2048  # asked of a decompressor at a time: what it had made of a step when it met a damage is lost
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "bz2": b"BZh", "xz": b"\xfd7zX"}


def begins_so(head: bytes, compression: str) -> bool:
    """Return whether the first four bytes of a file are those of a compression."""
    return head[: len(_MAGIC[compression])] == _MAGIC[compression]


class Decompressed(io.RawIOBase):
    """What a compressed file holds; reading raises Unusable when it is out of proportion to the file.

    One of DAMAGES, or an OSError without a number, comes where the file is damaged or cut short, and again each time.
    """

    def __init__(self, file: IO[bytes], compression: str) -> None:
        self._file = file
        self._next = _zstd(file) if compression == "zstd" else _Streams(file, _NEW[compression]).next
        self._expansion = Expansion()
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:
            raise self._error
        count = 0
        try:
            while count < len(buffer) and (data := self._next(min(len(buffer) - count, _STEP_BYTES))):
                buffer[count : count + len(data)] = data
                count += len(data)
        except (*DAMAGES, OSError) as error:
            if not count:
                raise
            self._error = error  # for the next call: what came before it is whole
        self._expansion.add_(count, self._file.tell())
        return count


def _zstd(file: IO[bytes]) -> Callable[[int], bytes]:
    import pyarrow as pa  # most files are not compressed, and it takes a tenth of a second

    return pa.CompressedInputStream(file, "zstd").read  # type: ignore[no-any-return]


class _Streams:
    """Compressed streams one after another, as gzip, bzip2 and xz append them, with zeros between them if need be."""

    def __init__(self, file: IO[bytes], new: Callable[[], Any]) -> None:
        self._file, self._new = file, new
        self._decompressor, self._block = new(), b""

    def next(self, max_bytes: int) -> bytes:
        """Return at most that many bytes more, b"" at the end. Raises one of DAMAGES, or OSError."""
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data
                while not (rest := rest.lstrip(b"\0")):
                    if not (rest := self._file.read(_BLOCK_BYTES)):
                        return b""
                self._decompressor, self._block = self._new(), rest
            needs_input = self._decompressor.needs_input
            given = (self._block or self._file.read(_BLOCK_BYTES)) if needs_input else b""
            self._block = b"" if needs_input else self._block
            if data := self._decompressor.decompress(given, max_bytes):
                return bytes(data)
            if needs_input and not given and not self._decompressor.eof:
                raise EOFError


class _Gzip:
    """A decompressor of one gzip stream, with the ways of those of bz2 and lzma."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        made = self._stream.decompress(self._stream.unconsumed_tail + data, max_bytes)
        self.needs_input = not self._stream.unconsumed_tail and len(made) < max_bytes
        return made


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


_NEW: dict[str, Callable[[], Any]] = {"gzip": _Gzip, "bz2": bz2.BZ2Decompressor, "xz": _xz}
