"""WARC and WET: the web pages of a crawl, each with its address, date and site."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.dates import iso_date
from headwater.corpus.read.encoding import decode
from headwater.corpus.read.html import page_text
from headwater.corpus.read.input import BLOCK_BYTES, InputFile
from headwater.corpus.read.limits import RECORD_BYTES, Expansion, ReadLimits, Unusable

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w:.-]{2,40})", re.IGNORECASE)
_PAGES = ("text/html", "application/xhtml+xml")
_CLAIMS = {"url": "canonical_url", "site": "site_name"}  # what a page says of itself is not where it was found
_READ = ("response", "resource", "conversion")
_MAX_HEAD_LINES, _MAX_HEAD_LINE_BYTES = 300, 65_536


@dataclass(frozen=True, slots=True)
class _Record:
    """A record: its kind, its header and its body; None in place of one that is too large to be held."""

    kind: str
    headers: dict[str, str]
    body: bytes | None
    num_bytes: int


def read_warc(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every page fetched (response, resource) or converted to text (WET).

    Requests and the crawler's own records are passed over; records before the damage in a damaged file count. Raises
    Unusable: not_warc, damaged_warc, expands_too_far, and for what is wrong with a compressed file.
    """
    with file.open() as stream:
        if stream.read(5) != b"WARC/":
            raise Unusable("not_warc")
    expansion = Expansion()
    with file.open() as stream:
        for number, record in enumerate(_records(stream, limits.max_file_bytes)):
            expansion.add_(RECORD_BYTES, file.num_bytes)
            address = record.headers.get("warc-target-uri", "").strip("<>")
            if record.kind in _READ and file.begin_record(f"#{number}", record.num_bytes, address[:200]):
                yield _piece(file, record, f"#{number}", address, limits)


def _records(stream: IO[bytes], max_bytes: int) -> Iterator[_Record]:
    while line := stream.readline(_MAX_HEAD_LINE_BYTES):
        if line in (b"\r\n", b"\n"):  # between records
            continue
        if not line.startswith(b"WARC/"):
            raise Unusable("damaged_warc")
        headers = dict(_headers(stream))
        length = headers.get("content-length", "")
        if not length.isdecimal() or len(length) > 15:
            raise Unusable("damaged_warc")
        body = _body(stream, int(length), max_bytes)
        yield _Record(headers.get("warc-type", "").lower(), headers, body, int(length))


def _headers(stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a header, names in lower case, up to the empty line that ends it."""
    for _ in range(_MAX_HEAD_LINES):
        line = stream.readline(_MAX_HEAD_LINE_BYTES)
        if line in (b"\r\n", b"\n"):
            return
        if not line.endswith(b"\n"):
            break
        name, _, value = line.decode("utf-8", "replace").partition(":")
        yield name.strip().lower(), value.strip()
    raise Unusable("damaged_warc")


def _body(stream: IO[bytes], length: int, max_bytes: int) -> bytes | None:
    if length <= max_bytes:
        data = stream.read(length)
        left = length - len(data)
    else:
        data, left = None, length
        while left and (block := stream.read(min(left, BLOCK_BYTES))):
            left -= len(block)
    if left:
        raise Unusable("damaged_warc")
    return data


def _piece(file: InputFile, record: _Record, part: str, address: str, limits: ReadLimits) -> Document | Drop:
    try:
        if record.body is None:
            raise Unusable("file_too_large")
        text, meta = _text(record, record.body, limits.max_file_bytes)
    except Unusable as error:
        return file.drop(error.reason, record.num_bytes, part, address[:200], error.because)
    claimed = {_CLAIMS.get(name, name): value for name, value in meta.items() if value}
    return file.document(text, part, **{**_origin(record, address), **claimed})


def _text(record: _Record, data: bytes, max_bytes: int) -> tuple[str, dict[str, str]]:
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
    end = min((at for at in (data.find(b"\r\n\r\n"), data.find(b"\n\n")) if at >= 0), default=-1)
    if end < 0:
        raise Unusable("damaged_http")
    first, *lines = data[:end].decode("latin-1").split("\n")
    fields = first.split()
    if len(fields) < 2 or not fields[1].isdecimal():
        raise Unusable("damaged_http")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(fields[1][:4]), headers, data[end:].lstrip(b"\r\n")


def _decoded(data: bytes, headers: dict[str, str], max_bytes: int) -> bytes:
    """Return a body without what was done to it for the way: chunks, compression. Most crawlers have undone it."""
    if headers.get("transfer-encoding", "").lower() == "chunked" and re.match(rb"[0-9a-fA-F]{1,8}[ ;]*\r\n", data):
        data = _unchunked(data)
    coding = headers.get("content-encoding", "").lower()
    if coding in ("gzip", "x-gzip") and data[:2] == b"\x1f\x8b":
        return _inflated(data, 31, max_bytes)
    if coding == "deflate" and data[:1] == b"\x78":
        return _inflated(data, 15, max_bytes)
    return data


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


def _inflated(data: bytes, window_bits: int, max_bytes: int) -> bytes:
    try:
        decompressor = zlib.decompressobj(window_bits)
        found = decompressor.decompress(data, max_bytes + 1)
    except zlib.error:
        raise Unusable("damaged_http") from None
    if len(found) > max_bytes:
        raise Unusable("file_too_large")
    return found


def _origin(record: _Record, address: str) -> dict[str, str]:
    """Return address, host and date of a record; for the date the page's own goes before it."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        host = ""
    return {"url": address, "site": host, "date": iso_date(record.headers.get("warc-date", ""))}
