"""WARC and WET: the web pages of a crawl, each with its address, date and site.

A record is whole or damaged: damage costs its record, and the next one is looked for behind it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from itertools import count
from urllib.parse import urlsplit

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.blocked import REASON as BLOCKED
from headwater.corpus.read.blocked import BlockedAddresses
from headwater.corpus.read.decompress import DAMAGES, Decompressed
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html import page_text
from headwater.corpus.read.html_metadata import iso_date
from headwater.corpus.read.input import BLOCK_BYTES, InputFile, Stream
from headwater.corpus.read.limits import RECORD_BYTES, Expansion, ReadLimits, Unusable

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w:.-]{2,40})", re.IGNORECASE)
_PAGES = ("text/html", "application/xhtml+xml")
_CLAIMS = {"url": "canonical_url", "site": "site_name"}  # what a page says of itself is not where it was found
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # what compression gives soon and hardly any text has
_HEAD_BYTES = 4096
_READ = ("response", "resource", "conversion")


def read_warc(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every page fetched (response, resource) or converted to text (WET).

    Requests and the crawler's own records are passed over. A damaged record, or stream of a compressed file, is a drop
    with its bytes. Raises Unusable: not_warc, expands_too_far.
    """
    expansion, numbers, blocked = Expansion(), count(), BlockedAddresses(limits)

    def read(stream: Stream) -> Iterator[Document | Drop]:
        for record in warc_records(stream, limits.max_file_bytes, file.num_bytes):
            part = f"#{next(numbers)}"
            expansion.add_(RECORD_BYTES, file.num_bytes)
            address = record.headers.get("warc-target-uri", "").strip("<>")
            is_wanted = record.kind in _READ or record.is_damaged
            if is_wanted and file.begin_record(part, record.num_bytes, address[:200]):
                if why := blocked.why(address):
                    yield file.drop(BLOCKED, record.num_bytes, part, address[:200], why)
                else:
                    yield _piece(file, record, part, address, limits)

    if not _begins_so(file):
        raise Unusable("not_warc")
    return file.read_on(read)


def _begins_so(file: InputFile) -> bool:
    """Return whether the head of a file is of a WARC, damaged or not."""
    try:
        head = file.head(BLOCK_BYTES)
    except Unusable as error:
        if error.reason.startswith("damaged"):
            return True
        raise
    return head.startswith(b"WARC/") or FIRST_LINE.search(head) is not None


def _piece(file: InputFile, record: Record, part: str, address: str, limits: ReadLimits) -> Document | Drop:
    try:
        if record.is_damaged:
            raise Unusable("damaged_warc")
        if record.body is None:
            raise Unusable("file_too_large")
        text, meta = _text(record, record.body, limits.max_file_bytes)
    except Unusable as error:
        return file.drop(error.reason, record.num_bytes, part, address[:200], error.because)
    claimed = {_CLAIMS.get(name, name): value for name, value in meta.items() if value}
    return file.document(text, part, **{**_origin(record, address), **claimed})


def _text(record: Record, data: bytes, max_bytes: int) -> tuple[str, dict[str, str]]:
    content_type = record.headers.get("content-type", "")
    if record.kind == "conversion":
        return decode(data), {}
    if data.startswith(b"HTTP/"):
        status, headers, data = _http(data)
        if status != 200:
            raise Unusable("not_found" if status in (404, 410) else "no_page")
        data = _decoded(data, headers, max_bytes)
        content_type = headers.get("content-type", "")
    kind, found = content_type.partition(";")[0].strip().lower(), _CHARSET.search(content_type)
    if kind not in (*_PAGES, "text/plain"):
        raise Unusable("unknown_format")
    text = decode(data, found[1] if found else None)
    return page_text(text) if kind in _PAGES else (text, {})


def _http(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return status, header and body of an answer as it came over the wire."""
    end = _END_OF_HEAD.search(data)
    if end is None:
        raise Unusable("damaged_http")
    first, *lines = data[: end.start()].decode("latin-1").split("\n")
    fields = first.split()
    if len(fields) < 2 or not fields[1].isdecimal():
        raise Unusable("damaged_http")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(fields[1][:4]), headers, data[end.end() :]


def _decoded(data: bytes, headers: dict[str, str], max_bytes: int) -> bytes:
    """Return a body without what was done to it for the way: chunks, compression. Most crawlers have undone it."""
    if headers.get("transfer-encoding", "").lower() == "chunked" and re.match(rb"[0-9a-fA-F]{1,8}[ ;]*\r\n", data):
        data = _unchunked(data)
    coding = headers.get("content-encoding", "").strip().lower()
    begins, undo = _CODINGS.get(coding, (b"", None))
    is_undone = not data.startswith(begins) if begins else _CONTROL.search(data, 0, _HEAD_BYTES) is None
    if coding in ("", "identity") or is_undone:
        return data
    if undo is None:
        raise Unusable("unknown_format", f"its content coding, {coding[:40]}, is not read")
    try:
        found = undo(data, max_bytes + 1)
    except (zlib.error, OSError):
        raise Unusable("damaged_http", f"its content coding, {coding}, is damaged") from None
    if len(found) > max_bytes:
        raise Unusable("file_too_large")
    return found


def _unchunked(data: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at, at + 100)) >= 0:
        try:
            size = int(data[at:end].partition(b";")[0], 16)
        except ValueError:
            break
        if size <= 0:
            break
        parts.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size
    return b"".join(parts)


def _inflated(data: bytes, max_bytes: int, window_bits: int = 31) -> bytes:
    return zlib.decompressobj(window_bits).decompress(data, max_bytes)


def _deflated(data: bytes, max_bytes: int) -> bytes:
    """Undo "deflate", which half of the servers take for what is without zlib's head."""
    try:
        return _inflated(data, max_bytes, zlib.MAX_WBITS)
    except zlib.error:
        return _inflated(data, max_bytes, -zlib.MAX_WBITS)


def _by_arrow(coding: str, data: bytes, max_bytes: int) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(data), coding) as stream:
        return bytes(stream.read(max_bytes))


# how a body in a content coding begins, if it can be told that a crawler hasn't undone it, and what undoes it
_CODINGS: dict[str, tuple[bytes, Callable[[bytes, int], bytes]]] = {
    "gzip": (b"\x1f\x8b", _inflated),
    "x-gzip": (b"\x1f\x8b", _inflated),
    "zstd": (b"\x28\xb5\x2f\xfd", partial(_by_arrow, "zstd")),
    "deflate": (b"", _deflated),
    "br": (b"", partial(_by_arrow, "brotli")),
}


def _origin(record: Record, address: str) -> dict[str, str]:
    """Return address, host and date of a record; for the date the page's own goes before it."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        host = ""
    return {"url": address, "site": host, "date": iso_date(record.headers.get("warc-date", ""))}


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
