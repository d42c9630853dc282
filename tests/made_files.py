"""Files of other people's formats, made small: archives, books, crawls, tables, and streams in any compression."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Links = Sequence[tuple[str, str]]
Members = Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]]  # pairs where two have one name


def by_arrow(data: bytes, coding: str = "zstd") -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, coding) as stream:
        stream.write(data)
    return bytes(sink.getvalue().to_pybytes())


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": by_arrow,
}
IN_ONE = {".tgz": ".tar.gz", ".txz": ".tar.xz"}


def zipped(members: Members) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            archive.writestr(name, content)
    return data.getvalue()


def tarred(members: Members, links: Links = ()) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return data.getvalue()


def archived(name: str, members: Members, links: Links = ()) -> bytes:
    """Return an archive of the kind and in the compression that its name says."""
    name = next((name.replace(short, long) for short, long in IN_ONE.items() if name.endswith(short)), name)
    data = tarred(members, links) if ".tar" in name else zipped(members)
    return compressed(name, data)


def compressed(name: str, data: bytes) -> bytes:
    return COMPRESS.get(PurePath(name).suffix, bytes)(data)


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def arrow(table: pa.Table, opener: Any = pa.ipc.new_file, chunk_rows: int = 2) -> bytes:
    sink = pa.BufferOutputStream()
    with opener(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=chunk_rows)
    return bytes(sink.getvalue().to_pybytes())


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue().to_pybytes())


def rows_as(name: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as a file of the format that its name says."""
    if name.endswith(".parquet"):
        return parquet(table_of(rows))
    if name.endswith(".arrow"):
        return arrow(table_of(rows))
    if name.endswith(".json"):
        return json.dumps(rows).encode()
    if name.endswith(".jsonl"):
        return "\n".join(map(json.dumps, rows)).encode()
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def pdf(objects: Iterable[str], start: str = "", more: str = "") -> bytes:
    """Return a PDF of these objects, the first its root; `start` stands in place of the address of its table."""
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n" + "".join(f"{at:010d} 00000 n \n" for at in places)
    trailer = f"trailer << /Size {len(places) + 1} /Root 1 0 R {more} >>\nstartxref\n{start or len(data)}\n%%EOF"
    return data + (table + trailer).encode()


def pdf_stream(content: str, more: str = "") -> str:
    return f"<< /Length {len(content)} {more} >>\nstream\n{content}\nendstream"


def warc(kind: str, body: bytes, *fields: str, length: int | None = None) -> bytes:
    """Return a record of a crawl with these header fields; `length` is what it says that its body has."""
    lines = ["WARC/1.0", f"WARC-Type: {kind}", *fields, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "", ""]).encode() + body + b"\r\n\r\n"


def http(body: bytes, content_type: str = "text/html", *fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body
