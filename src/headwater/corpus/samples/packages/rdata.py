"""R's data bases of lazily loaded data (.rdb): the character vectors in them, as texts; R itself is not needed.

A data base is a row of compressed values, each behind its size; a value is R's serialisation in XDR form (R Internals,
"Serialization Formats"). Texts in R are vectors of lines. Only what holds text is read; any other value is passed over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.samples.texts import SampleText, damaged

MIN_LINES = 20  # shorter vectors are names and labels
_MAX_VALUE_BYTES = 64_000_000
_CHARACTERS, _STRINGS = 9, 16
_HAS_ATTRIBUTES = 1 << 9
_MISSING = -1


def read_rdata(path: Path, origin: str) -> Iterator[SampleText]:
    """Yield a text for each vector of at least 20 strings, which become its lines. Raises DataError for a damage."""
    try:
        for number, value in enumerate(_values(path.read_bytes())):
            lines = _strings(value)
            if lines is not None and len(lines) >= MIN_LINES:
                title = next((line.strip() for line in lines if line.strip()), "")
                yield SampleText("\n".join(lines), f"{origin}#{number}", origin, {"title": title})
    except (struct.error, ValueError, zlib.error) as error:
        raise damaged(origin, error) from error


def _values(data: bytes) -> Iterator[bytes]:
    while len(data) > 4:
        (size,) = struct.unpack_from(">I", data)
        stream = zlib.decompressobj()
        value = stream.decompress(data[4:], min(size, _MAX_VALUE_BYTES) + 1)
        if len(value) != size or not stream.eof:
            raise ValueError("a value is of another size than it says")
        yield value
        data = stream.unused_data


def _strings(value: bytes) -> list[str] | None:
    """Return the strings of a value that is a vector of strings; None for one that isn't."""
    if value[:2] != b"X\n":
        return None
    (version,) = struct.unpack_from(">i", value, 2)
    at = 14
    if version == 3:  # it says how strings are encoded that don't say so themselves
        (name_bytes,) = struct.unpack_from(">i", value, at)
        at += 4 + name_bytes
    flags, count = struct.unpack_from(">ii", value, at)
    if flags & 0xFF != _STRINGS or flags & _HAS_ATTRIBUTES:
        return None
    return list(_read_strings(value, at + 8, count))


def _read_strings(value: bytes, at: int, count: int) -> Iterator[str]:
    for _ in range(count):
        flags, length = struct.unpack_from(">ii", value, at)
        if flags & 0xFF != _CHARACTERS or not _MISSING <= length <= len(value):
            raise ValueError("what stands for a string is none")
        at += 8
        if length == _MISSING:
            yield ""
            continue
        data, at = value[at : at + length], at + length
        yield data.decode("latin-1" if flags & (1 << 14) else "utf-8")
