"""R's data bases of lazily loaded data (.rdb): the character vectors in them, as texts; R itself is not needed.

A data base is a row of compressed values, each behind its size; a value is R's serialisation in XDR form (R Internals,
"Serialization Formats"). Texts in R are vectors of lines. Only what holds text is read; any other value is passed over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.samples.texts import SampleText, Unreadable, check_expansion, read_bytes

MIN_LINES = 20  # shorter vectors are names and labels
_MAX_VALUE_BYTES = 64_000_000
_CHUNK_BYTES = 1 << 16
_CHARACTERS, _STRINGS = 9, 16
_HAS_ATTRIBUTES = 1 << 9
_MISSING = -1


def read_rdata(path: Path, origin: str, max_bytes: int) -> Iterator[SampleText]:
    """Yield a text for each vector of at least 20 strings, which become its lines.

    Raises Unreadable: damaged_rdata, file_too_large, expands_too_far.
    """
    for number, value in enumerate(_values(read_bytes(path, max_bytes))):
        lines = _strings(value)
        if lines is not None and len(lines) >= MIN_LINES:
            title = next((line.strip() for line in lines if line.strip()), "")
            yield SampleText("\n".join(lines), f"{origin}#{number}", origin, {"title": title})


def _values(data: bytes) -> Iterator[bytes]:
    at = num_bytes = 0
    while at + 4 < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        num_bytes += size
        check_expansion(num_bytes, len(data))
        if size > _MAX_VALUE_BYTES:
            raise Unreadable("damaged_rdata")
        value, at = _decompressed(data, at + 4, size)
        yield value


def _decompressed(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return the value of `size` bytes whose stream begins at `at`, and where the stream ends."""
    stream, value = zlib.decompressobj(), bytearray()
    try:
        while not stream.eof and len(value) <= size:
            given = stream.unconsumed_tail
            if not given:
                given, at = data[at : at + _CHUNK_BYTES], min(at + _CHUNK_BYTES, len(data))
            if not given:
                raise Unreadable("damaged_rdata")
            value += stream.decompress(given, size + 1 - len(value))  # a limit of 0 would be none
    except zlib.error as error:
        raise Unreadable("damaged_rdata") from error
    if len(value) != size:
        raise Unreadable("damaged_rdata")
    return bytes(value), at - len(stream.unused_data)


def _strings(value: bytes) -> list[str] | None:
    """Return the strings of a value that is a vector of strings; None for one that isn't."""
    try:
        if value[:2] != b"X\n":
            return None
        (version,) = struct.unpack_from(">i", value, 2)
        at = 14
        if version == 3:  # it says how strings are encoded that don't say so themselves
            (name_bytes,) = struct.unpack_from(">i", value, at)
            at += 4 + name_bytes
        flags, count = struct.unpack_from(">ii", value, at)
        if flags & 0xFF != _STRINGS or flags & _HAS_ATTRIBUTES or count < 0:
            return None
        return list(_read_strings(value, at + 8, count))
    except (struct.error, UnicodeDecodeError) as error:
        raise Unreadable("damaged_rdata") from error


def _read_strings(value: bytes, at: int, count: int) -> Iterator[str]:
    for _ in range(count):
        flags, length = struct.unpack_from(">ii", value, at)
        if flags & 0xFF != _CHARACTERS or not _MISSING <= length <= len(value):
            raise Unreadable("damaged_rdata")
        at += 8
        if length == _MISSING:
            yield ""
            continue
        data, at = value[at : at + length], at + length
        yield data.decode("latin-1" if flags & (1 << 14) else "utf-8")
