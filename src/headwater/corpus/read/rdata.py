"""R's data bases of lazily loaded data (.rdb): the character vectors in them, as texts; R itself is not needed.

A data base is a row of compressed values, each behind its size; a value is R's serialisation in XDR form (R Internals,
"Serialization Formats"). Texts in R are vectors of lines. Only what holds text is read; any other value is passed over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, Unusable

MIN_LINES = 20  # shorter vectors are names and labels
_MAX_VALUE_BYTES = 64_000_000
_CHARACTERS, _STRINGS = 9, 16
_HAS_ATTRIBUTES = 1 << 9
_MISSING = -1


def read_rdata(file: InputFile) -> Iterator[Document]:
    """Yield a document for each vector of at least 20 strings, which become its lines.

    Raises Unusable: damaged_rdata, expands_too_far.
    """
    for number, value in enumerate(_values(file)):
        lines = _strings(value)
        if lines is not None and len(lines) >= MIN_LINES:
            title = next((line.strip() for line in lines if line.strip()), "")
            yield file.document("\n".join(lines), f"#{number}", title=title)


def _values(file: InputFile) -> Iterator[bytes]:
    data, at, expansion = file.path.read_bytes(), 0, Expansion()
    while at + 4 < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        expansion.add_(size, len(data))
        stream = zlib.decompressobj()
        try:
            value = stream.decompress(data[at + 4 :], min(size, _MAX_VALUE_BYTES))
        except zlib.error as error:
            raise Unusable("damaged_rdata") from error
        if len(value) != size:
            raise Unusable("damaged_rdata")
        stream.flush()
        at = len(data) - len(stream.unused_data)
        yield value


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
        raise Unusable("damaged_rdata") from error


def _read_strings(value: bytes, at: int, count: int) -> Iterator[str]:
    for _ in range(count):
        flags, length = struct.unpack_from(">ii", value, at)
        if flags & 0xFF != _CHARACTERS or length > len(value):
            raise Unusable("damaged_rdata")
        at += 8
        if length == _MISSING:
            yield ""
            continue
        data, at = value[at : at + length], at + length
        yield data.decode("latin-1" if flags & (1 << 14) else "utf-8")
