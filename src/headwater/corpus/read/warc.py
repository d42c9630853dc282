"""WARC and WET: the web pages of a crawl, each with its address, date and site."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from urllib.parse import urlsplit

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.blocked import REASON as BLOCKED
from headwater.corpus.read.blocked import BlockedAddresses
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html import page_text
from headwater.corpus.read.html_metadata import iso_date
from headwater.corpus.read.input import BLOCK_BYTES, InputFile, Stream
from headwater.corpus.read.limits import RECORD_BYTES, Expansion, ReadLimits, Unusable
from headwater.corpus.read.warc_records import FIRST_LINE, Record, warc_records

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
