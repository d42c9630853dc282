"""What a compressed file holds, as it streams: all that stands before a damage, at any size, and then the error."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from headwater.corpus.read.limits import Expansion

DAMAGES = (zlib.error, lzma.LZMAError, EOFError)  # and an OSError without a number, which is no disk's
_XZ_MEMORY_BYTES = 128 << 20  # a file says how much it needs: one of `xz -9` 65 MiB, a hostile one 4 GiB
_BLOCK_BYTES = 1 << 16
# what a decompressor is given, and zstd's asked for, at a time: what it had made of that when it met a damage is lost,
# so that gzip's and zstd's go back there and on in fine steps; those of bzip2 and xz can't, and lose so much
_STEP_BYTES, _LOST_STEP_BYTES, _FINE_STEP_BYTES = 1 << 14, 2048, 512
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
        self._next = _Zstd(file).next if compression == "zstd" else _Streams(file, *_NEW[compression]).next
        self._expansion = Expansion()
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:
            raise self._error
        count = 0
        try:
            while count < len(buffer) and (data := self._next(len(buffer) - count)):
                buffer[count : count + len(data)] = data
                count += len(data)
        except (*DAMAGES, OSError) as error:
            if not count:
                raise
            self._error = error  # for the next call: what came before it is whole
        self._expansion.add_(count, self._file.tell())
        return count


class _Zstd:
    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow as pa  # most files are not compressed, and it takes a tenth of a second

        self._open = lambda: pa.CompressedInputStream(file, "zstd")
        self._file, self._step_bytes, self._made_bytes = file, _STEP_BYTES, 0
        self._streams = [self._open()]  # kept until the end: one that is no more closes the file

    def next(self, max_bytes: int) -> bytes:
        """Return at most that many bytes more, b"" at the end. Raises OSError."""
        try:
            data = bytes(self._streams[-1].read(min(max_bytes, self._step_bytes)))
        except OSError as error:
            if error.errno is not None or self._step_bytes == _FINE_STEP_BYTES:
                raise
            self._go_back_()
            return self.next(max_bytes)
        self._made_bytes += len(data)
        return data

    def _go_back_(self) -> None:
        """Go through the file again to what was made of it; on from there in fine steps."""
        self._file.seek(0)
        self._streams.append(self._open())
        again = 0
        while again < self._made_bytes:
            again += len(self._streams[-1].read(min(self._made_bytes - again, _STEP_BYTES)))
        self._step_bytes = _FINE_STEP_BYTES


class _Streams:
    """Compressed streams one after another, as gzip, bzip2 and xz append them, with zeros between them if need be."""

    def __init__(self, file: IO[bytes], new: Callable[[], Any], step_bytes: int) -> None:
        self._file, self._new, self._step_bytes = file, new, step_bytes
        self._decompressor = new()
        self._block, self._at = b"", 0

    def next(self, max_bytes: int) -> bytes:
        """Return at most that many bytes more, b"" at the end. Raises one of DAMAGES, or OSError."""
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data + self._block[self._at :]
                while not (rest := rest.lstrip(b"\0")):
                    if not (rest := self._file.read(_BLOCK_BYTES)):
                        return b""
                self._decompressor, self._block, self._at = self._new(), rest, 0
            given = self._step() if self._decompressor.needs_input else b""
            if data := self._decompressor.decompress(given, max_bytes):
                return bytes(data)
            if not given and self._decompressor.needs_input and not self._decompressor.eof:
                raise EOFError

    def _step(self) -> bytes:
        if self._at == len(self._block):
            self._block, self._at = self._file.read(_BLOCK_BYTES), 0
        step = self._block[self._at : self._at + self._step_bytes]
        self._at += len(step)
        return step


class _Gzip:
    """A decompressor of one gzip stream, with the ways of those of bz2 and lzma.

    What stands before a damage is given up to the fine step in which it lies, and then the error is raised.
    """

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(31)
        self._before, self._step, self._made_bytes = self._stream, b"", 0
        self._error: zlib.error | None = None
        self._saved = b""

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @property
    def needs_input(self) -> bool:
        return self._error is None and not self._stream.unconsumed_tail

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        if data:
            self._before, self._step, self._made_bytes = self._stream.copy(), data, 0
        if self._error is None:
            try:
                made = self._stream.decompress(self._stream.unconsumed_tail + data, max_bytes)
                self._made_bytes += len(made)
                return made
            except zlib.error as error:
                self._error, self._saved = error, self._whole_before_damage()
        if not self._saved:
            raise self._error
        made, self._saved = self._saved[:max_bytes], self._saved[max_bytes:]
        return made

    def _whole_before_damage(self) -> bytes:
        """Return what the last step gives in fine steps beyond what was made of it: at most a thousand times itself."""
        parts = []
        with suppress(zlib.error):
            for at in range(0, len(self._step), _FINE_STEP_BYTES):
                parts.append(self._before.decompress(self._step[at : at + _FINE_STEP_BYTES]))
        return b"".join(parts)[self._made_bytes :]


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


_NEW: dict[str, tuple[Callable[[], Any], int]] = {
    "gzip": (_Gzip, _STEP_BYTES),
    "bz2": (bz2.BZ2Decompressor, _LOST_STEP_BYTES),
    "xz": (_xz, _LOST_STEP_BYTES),
}
