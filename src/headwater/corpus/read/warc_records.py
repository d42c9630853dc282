"""The records of a WARC, each whole or damaged: damage costs its record, and the next one is looked for behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

from headwater.corpus.read.decompress import DAMAGES, Decompressed
from headwater.corpus.read.input import BLOCK_BYTES, Stream
from headwater.corpus.read.limits import Expansion

FIRST_LINE = re.compile(rb"WARC/1\.\d\r?\n")
_RECORD_WITHIN = re.compile(rb"(?<=\r\n\r\n)WARC/1\.\d\r?\n")
_EMPTY = (b"\r\n", b"\n")
_KINDS = ("warcinfo", "response", "resource", "request", "metadata", "revisit", "conversion", "continuation")
_MAX_HEAD_LINES, _MAX_HEAD_LINE_BYTES = 300, 65_536
_FIRST_LINE_BYTES = 10


@dataclass(frozen=True, slots=True)
class Record:
    """A record: its kind, its header and its body; None in place of one that is too large to be held.

    Of a damaged one nothing is known but the bytes that were skipped.
    """

    kind: str
    num_bytes: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def is_damaged(self) -> bool:
        return not self.kind


def warc_records(stream: Stream, max_bytes: int, file_bytes: int) -> Iterator[Record]:
    """Yield the records of a stream, which may begin within one.

    A record is whole if its header says how long it is, and behind that are two empty lines, a record, or the end.
    Raises Unusable, expands_too_far, if very much has to be read again; one of DAMAGES as the stream does, behind the
    records that are whole before it.
    """
    text, expansion, raw = _Reread(stream), Expansion(), getattr(stream, "raw", None)
    first, _ = text.line()
    while first:
        record, read, num_bytes = _record(text, first, max_bytes)
        end = stream.tell()
        try:
            line, empty = text.line()
        except (*DAMAGES, OSError) as error:
            # what a stream is checked by at its end speaks of all of it
            began_behind = isinstance(raw, Decompressed) and raw.stream_at >= end
            if record is not None and (began_behind or isinstance(error, EOFError)):
                yield record
            raise
        is_next = not line or FIRST_LINE.fullmatch(line) is not None
        if record is not None and (is_next or empty.count(b"\n") == 2):
            yield record
            read, empty, num_bytes = b"", b"", 0
            if is_next:
                first = line
                continue
        expansion.add_(len(read), file_bytes)
        text.read_again(read + empty + line)
        first, num_skipped = text.skip_to_record()
        yield Record("", num_bytes + num_skipped)


class _Reread:
    """A stream of which what was read last may be read again."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._again = stream, BytesIO()

    def read(self, size: int) -> bytes:
        data = self._again.read(size)
        return data + self._stream.read(size - len(data)) if len(data) < size else data

    def readline(self) -> bytes:
        line = self._again.readline(_MAX_HEAD_LINE_BYTES)
        is_whole = line.endswith(b"\n") or len(line) == _MAX_HEAD_LINE_BYTES
        return line if is_whole else line + self._stream.readline(_MAX_HEAD_LINE_BYTES - len(line))

    def line(self) -> tuple[bytes, bytes]:
        """Return the next line that isn't empty, b"" at the end, and the empty ones before it."""
        empty = b""
        while (line := self.readline()) in _EMPTY:
            empty += line
        return line, empty

    def read_again(self, data: bytes) -> None:
        self._again = BytesIO(data + self._again.read())

    def skip_to_record(self) -> tuple[bytes, int]:
        """Return the first line of the next record, b"" if there is none, and the bytes before it."""
        num_bytes, first = 0, b""
        while line := self.readline():
            if match := FIRST_LINE.search(line):
                num_bytes, first = num_bytes + match.start(), match.group()
                break
            num_bytes += len(line)
        return first, num_bytes


def _record(text: _Reread, line: bytes, max_bytes: int) -> tuple[Record | None, bytes, int]:
    """Return the record that a line begins, None of a damaged one; what was read and may be read again; and how many
    bytes the rest has.
    """
    if not FIRST_LINE.fullmatch(line):
        return None, line, 0
    headers, read = _headers(text)
    kind, length = headers.get("warc-type", "").lower(), headers.get("content-length", "")
    if kind not in _KINDS or not length.isdecimal() or len(length) > 15:
        return None, read, len(line)
    if int(length) > max_bytes:
        num_left, num_bytes = _skip_body(text, int(length))
        return None if num_left else Record(kind, int(length), headers), b"", len(line + read) + num_bytes
    body = text.read(int(length))
    record = Record(kind, int(length), headers, body) if len(body) == int(length) else None
    return record, read + body, len(line)


def _headers(text: _Reread) -> tuple[dict[str, str], bytes]:
    """Return the fields of a header, names in lower case, and its bytes; no fields of one that doesn't end."""
    headers: dict[str, str] = {}
    lines: list[bytes] = []
    for _ in range(_MAX_HEAD_LINES):
        lines.append(text.readline())
        if lines[-1] in _EMPTY:
            return headers, b"".join(lines)
        if not lines[-1].endswith(b"\n"):
            break
        name, _, value = lines[-1].decode("utf-8", "replace").partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return {}, b"".join(lines)


def _skip_body(text: _Reread, length: int) -> tuple[int, int]:
    """Read on behind a body that is not held, or to what looks like a record in it.

    Return how many of its bytes were not there, and how many were read.
    """
    rest, left = b"", length
    while left and (block := text.read(min(left, BLOCK_BYTES))):
        left -= len(block)
        rest = rest[-2 * _FIRST_LINE_BYTES :] + block
        if match := _RECORD_WITHIN.search(rest):
            again = len(rest) - match.start()
            text.read_again(rest[match.start() :])
            return left + again, length - left - again
    return left, length - left
