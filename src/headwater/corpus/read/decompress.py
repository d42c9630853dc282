"""What a compressed file holds, as it streams: all that stands before a damage, at any size, then the error; and then,
of a file of several streams (gzip, bzip2, xz), what stands behind the damaged one.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import IO, Any

from headwater.corpus.read.limits import Expansion

DAMAGES = (zlib.error, lzma.LZMAError, EOFError)  # and an OSError without a number, which is no disk's
_XZ_MEMORY_BYTES = 128 << 20  # a file says how much it needs: one of `xz -9` 65 MiB, a hostile one 4 GiB
_BLOCK_BYTES = 1 << 14
_STEP_BYTES = 2048  # asked of a decompressor at a time: what it had made of a step when it met a damage is lost
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "bz2": b"BZh", "xz": b"\xfd7zX"}
# how a stream begins, long enough that it hardly does by chance within another: of gzip deflate, flags that there are,
# and a level and a system that programs write
_BEGINS = {
    "gzip": re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0e\xff]", re.DOTALL),
    "bz2": re.compile(rb"BZh[1-9]\x31\x41\x59\x26\x53\x59"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
}
_BEGIN_BYTES = 10
SEARCH_BYTES = 1 << 20


def begins_so(head: bytes, compression: str) -> bool:
    """Return whether a file of this head is of a compression, or damaged there and is so soon behind its beginning."""
    is_so = head[: len(_MAGIC[compression])] == _MAGIC[compression]
    return is_so or (compression in _BEGINS and _BEGINS[compression].search(head) is not None)


class Decompressed(io.RawIOBase):
    """What a compressed file holds; reading raises Unusable when it is out of proportion to the file.

    One of DAMAGES, or an OSError without a number, comes where the file is damaged or cut short, and again each time,
    until `skip_damaged` is called.
    """

    def __init__(self, file: IO[bytes], compression: str) -> None:
        self._file = file
        self._streams = None if compression == "zstd" else _Streams(file, compression)
        self._next = self._streams.next if self._streams else _zstd(file)
        self._expansion = Expansion()
        self._error: Exception | None = None
        self._num_out = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._num_out

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
        self._num_out += count
        self._expansion.add_(count, self._file.tell())
        return count

    @property
    def stream_at(self) -> int:
        """Where, in what came out, the stream began that is read."""
        return self._streams.out_at if self._streams else 0

    def skip_damaged(self) -> tuple[int, bool]:
        """Go to the stream behind the damaged one; return the bytes of the file that are skipped, and if there is one.

        All bytes of a damaged stream count, but of one that is the whole file those from about the damage on.
        """
        self._error = None
        return self._streams.skip_damaged() if self._streams else (_left(self._file), False)


def _left(file: IO[bytes]) -> int:
    at = file.tell()
    return file.seek(0, io.SEEK_END) - at


def _zstd(file: IO[bytes]) -> Callable[[int], bytes]:
    import pyarrow as pa  # most files are not compressed, and it takes a tenth of a second

    return pa.CompressedInputStream(file, "zstd").read  # type: ignore[no-any-return]


class _Streams:
    """Compressed streams one after another, as gzip, bzip2 and xz append them, with zeros between them if need be.

    `out_at` is where, in what came out, the present one begins.
    """

    def __init__(self, file: IO[bytes], compression: str) -> None:
        self._file, self._new, self._begins = file, _NEW[compression], _BEGINS[compression]
        self.out_at = self._num_out = self._start = self._block_at = 0
        self._decompressor, self._block = self._new(), b""

    def next(self, max_bytes: int) -> bytes:
        """Return at most that many bytes more, b"" at the end. Raises one of DAMAGES, or OSError."""
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data
                while not (rest := rest.lstrip(b"\0")):
                    if not (rest := self._file.read(_BLOCK_BYTES)):
                        return b""
                self._begin(self._file.tell() - len(rest), rest)
            needs_input = self._decompressor.needs_input
            given = self._input() if needs_input else b""
            if data := self._decompressor.decompress(given, max_bytes):
                self._num_out += len(data)
                return bytes(data)
            if needs_input and not given and not self._decompressor.eof:
                raise EOFError

    def _input(self) -> bytes:
        at = self._file.tell()
        if not self._block and (block := self._file.read(_BLOCK_BYTES)):
            self._block_at, self._block = at, block
        given, self._block = self._block, b""
        return given

    def _begin(self, start: int, block: bytes) -> None:
        self._start = self._block_at = start
        self.out_at = self._num_out
        self._decompressor, self._block = self._new(), block

    def skip_damaged(self) -> tuple[int, bool]:
        """As `Decompressed` says."""
        start, found = self._start, self._find(self._start + 1)
        if found is None:
            return self._file.seek(0, io.SEEK_END) - (start or self._block_at), False
        self._file.seek(found)
        self._begin(found, b"")
        return found - start, True

    def _find(self, at: int) -> int | None:
        """Return where in the file the next stream begins, from a place on."""
        self._file.seek(at)
        rest = b""
        while block := self._file.read(SEARCH_BYTES):
            rest += block
            if match := self._begins.search(rest):
                return at + match.start()
            at, rest = at + max(len(rest) - _BEGIN_BYTES, 0), rest[-_BEGIN_BYTES:]
        return None


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
