"""Books, crawls, articles and archives: in circles, out of proportion, cut short, and such that say what isn't so."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa

from hostility.case import KEPT, MIB, Cases, write_repeated
from hostility.pages import SLOW
from hostility.texts import JUNK, PROSE, prose

cases = Cases()
TEXT = (KEPT, *JUNK, "empty", "too_short", "short_words", "repeated_passages")


# ---- PDF


def pdf(objects: list[str], start: str = "") -> bytes:
    """Return a PDF of these objects, the first its root; `start` stands in place of the address of its table."""
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{at:010d} 00000 n \n" for at in places)
    end = (
        f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Prev {len(data)} >>\nstartxref\n{start or len(data)}\n%%EOF"
    )
    return data + (table + end).encode()


def stream(content: str, more: str = "") -> str:
    return f"<< /Length {len(content)} {more} >>\nstream\n{content}\nendstream"


ROOT, FONT = "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>"
PAGE = "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F 4 0 R >> /XObject << /X 6 0 R >> >> >>"
SHOWN = stream(f"BT /F 9 Tf 72 700 Td ({PROSE[:300]}) Tj ET /X Do".replace("\n", " "))
FORM = stream("/X Do", "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >>")
PAGES = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
CIRCLES = {
    "pages": [ROOT, "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"],
    "counts": [ROOT, "<< /Type /Pages /Kids [3 0 R] /Count 2000000000 >>", PAGE, FONT, SHOWN, FORM],
    "forms": [ROOT, PAGES, PAGE, FONT, SHOWN, FORM],
    "lengths": [ROOT, PAGES, PAGE, FONT, "<< /Length 5 0 R >>\nstream\nBT ET\nendstream"],
    "arrays": [ROOT, PAGES, PAGE.replace("5 0 R", "[" * 20_000), FONT],
}


@cases("PDFs in circles", *TEXT, "no_text", "damaged_pdf", *SLOW)
def _circles(folder: Path, size: int) -> None:
    for name, objects in CIRCLES.items():
        (folder / f"{name}.pdf").write_bytes(pdf(objects))
    (folder / "tables.pdf").write_bytes(pdf([ROOT, PAGES, PAGE, FONT, SHOWN, FORM], start="9"))


@cases("a PDF of one page, many times", *TEXT, "expands_too_far", "damaged_pdf", "no_text", *SLOW)
def _one_page(folder: Path, size: int) -> None:
    kids = "3 0 R " * (size // 400)
    pages = f"<< /Type /Pages /Kids [{kids}] /Count {size // 400} >>"
    (folder / "many.pdf").write_bytes(pdf([ROOT, pages, PAGE, FONT, SHOWN, FORM]))


@cases("a PDF whose stream expands", *TEXT, "expands_too_far", "damaged_pdf", "no_text", *SLOW)
def _stream(folder: Path, size: int) -> None:
    content = zlib.compress(b"BT /F 9 Tf (bomb) Tj ET\n" * (8 * size // 24), 9).decode("latin-1")
    objects = [ROOT, PAGES, PAGE, FONT, stream(content, "/Filter /FlateDecode"), FORM]
    (folder / "stream.pdf").write_bytes(pdf(objects))


@cases("PDFs with bytes changed", *TEXT, "no_text", "damaged_pdf", "not_pdf", "encrypted", "wrongly_decoded", *SLOW)
def _changed(folder: Path, size: int) -> None:
    data = pdf([ROOT, PAGES, PAGE, FONT, SHOWN, FORM])
    chance = random.Random(6)
    for number in range(20):
        changed = bytearray(data[: chance.randrange(len(data))] if number % 2 else data)
        for _ in range(8):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        (folder / f"{number}.pdf").write_bytes(changed)


# ---- archives


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@cases("a zip of 1000 : 1", "expands_too_far", "file_too_large")
def _zip_bomb(folder: Path, size: int) -> None:
    (folder / "bomb.zip").write_bytes(zipped({f"{number}.txt": b"bomb" * (4 * MIB) for number in range(4)}))


@cases("a zip with one member, many times over", *TEXT, "expands_too_far", "damaged_member", "damaged_zip")
def _overlapping(folder: Path, size: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", b"bomb" * MIB)
        archive.filelist *= 1000
    (folder / "over.zip").write_bytes(buffer.getvalue())


@cases("zips with bytes changed", *TEXT, "damaged_zip", "not_zip", "damaged_member", "encrypted", "expands_too_far",
       "unknown_format", "file_too_large", "not_utf8", "binary", *SLOW)  # fmt: skip
def _zip_changed(folder: Path, size: int) -> None:
    data = zipped({f"{number}.txt": prose(str(number)).encode() for number in range(9)})
    chance = random.Random(7)
    for number in range(20):
        changed = bytearray(data)
        for _ in range(6):
            changed[chance.randrange(len(data) // 2, len(data))] = chance.randrange(256)
        (folder / f"{number}.zip").write_bytes(changed)


@cases("archives of archives of archives", "unknown_format")
def _nested(folder: Path, size: int) -> None:
    inner = zipped({"a.txt": PROSE.encode()})
    for _ in range(9):
        inner = zipped({f"{number}.zip": inner for number in range(3)})
    (folder / "nested.zip").write_bytes(inner)


@cases("tars that say what isn't so", *TEXT, "not_tar", "damaged_tar", "expands_too_far", "file_too_large", "binary",
       "empty", "parser_failed", *SLOW)  # fmt: skip
def _tars(folder: Path, size: int) -> None:
    def header(name: str, length: bytes, kind: bytes = b"0") -> bytes:
        block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
        block[124:136], block[156:157] = length.ljust(12, b"\0"), kind
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)

    said = {"octal": b"77777777777", "negative": b"\xff" * 12, "long": b"\x80" + b"\x7f" * 11, "words": b"words"}
    for name, length in said.items():
        for kind in (b"0", b"L", b"x", b"S"):
            (folder / f"{name}-{kind.decode()}.tar").write_bytes(header("a.txt", length, kind) + bytes(5120))
    (folder / "pax.tar").write_bytes(
        header("a", b"1000", b"x") + b"999999999999 path=a\n".ljust(512, b"x") + bytes(5120)
    )


@cases("a tar of 1000 : 1", *TEXT, "expands_too_far", "file_too_large")
def _tar_bomb(folder: Path, size: int) -> None:
    member = tarfile.TarInfo("bomb.txt")
    member.size = MIB
    block = gzip.compress((member.tobuf() + b"bomb" * (MIB // 4)) * 8, 9)
    (folder / "bomb.tar.gz").write_bytes(block * max(16, 2 * size // MIB))


# ---- books of pages


@cases("EPUBs that point elsewhere and expand", *TEXT, "missing_in_archive", "expands_too_far", "damaged_epub",
       "file_too_large", "not_html", "not_utf8", "binary", "empty", *SLOW)  # fmt: skip
def _epubs(folder: Path, size: int) -> None:
    container = b'<container><rootfile full-path="%s"/></container>'
    names = ["../../etc/passwd", "/etc/passwd", "bomb.html", "a.html", "a.html"]
    items = "".join(f'<item id="{n}" href="{each}" media-type="text/html"/>' for n, each in enumerate(names))
    spine = "".join(f'<itemref idref="{n}"/>' for n in range(len(names)))
    entities = "<!DOCTYPE p [" + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12)) + "]>"
    package = f"{entities}<package><title>&l11;</title><manifest>{items}</manifest><spine>{spine}</spine></package>"
    files = {"a.html": b"<p>" + prose("epub").encode(), "bomb.html": b"<p>bomb</p>" * MIB}
    book = {"META-INF/container.xml": container % b"p.opf", "p.opf": package.encode(), **files}
    (folder / "book.epub").write_bytes(zipped(book))
    (folder / "self.epub").write_bytes(zipped({"META-INF/container.xml": container % b"META-INF/container.xml"}))
    (folder / "up.epub").write_bytes(zipped({"META-INF/container.xml": container % b"../../etc/passwd"}))
    (folder / "items.epub").write_bytes(zipped({**book, "p.opf": (package + '<item href="' * (size // 20)).encode()}))


# ---- crawls


def warc(headers: str, body: bytes = b"") -> bytes:
    return f"WARC/1.0\r\n{headers}\r\n\r\n".encode() + body + b"\r\n\r\n"


HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
BOMB = HTTP + gzip.compress(b"<p>bomb " * (16 * MIB), 9)


@cases("crawls that say what isn't so", *TEXT, "not_warc", "damaged_warc", "damaged_http", "unknown_format", "empty",
       "file_too_large", "not_html", *SLOW)  # fmt: skip
def _crawls(folder: Path, size: int) -> None:
    bodies = {
        "length": warc("WARC-Type: response\r\nContent-Length: 99999999999999"),
        "negative": warc("WARC-Type: response\r\nContent-Length: -5", b"HTTP/"),
        "digits": warc("WARC-Type: response\r\nContent-Length: " + "9" * 5000),
        "status": warc("WARC-Type: response\r\nContent-Length: 9", b"HTTP/ \r\n\r"),
        "gzip": warc(f"WARC-Type: response\r\nContent-Length: {len(BOMB)}", BOMB),
        "headers": b"WARC/1.0\r\n" + b"a: b\r\n" * (size // 6),
        "line": b"WARC/1.0\r\n" + b"a" * size,
        "blank": b"WARC/1.0\r\nContent-Length: 0\r\n\r\n" + b"\r\n" * (size // 2),
        "address": warc("WARC-Type: conversion\r\nWARC-Target-URI: http://[::1\r\nContent-Length: 5", b"words"),
    }
    for name, content in bodies.items():
        (folder / f"{name}.warc").write_bytes(content)


@cases("a crawl of empty records", "expands_too_far", "unknown_format", "empty", "too_short", *SLOW)
def _records(folder: Path, size: int) -> None:
    record = b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
    (folder / "empty.warc.gz").write_bytes(gzip.compress(record * (4 * MIB // len(record)), 9) * max(4, size // MIB))


# ---- XML

LAUGHS = (
    "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)) + "]>"
)


@cases("entities of entities", "declares_entities", "damaged_xml")
def _laughs(folder: Path, size: int) -> None:
    (folder / "laughs.xml").write_text(f"{LAUGHS}<article><p>&a11;</p></article>")
    (folder / "wiki.xml").write_text(f"{LAUGHS}<mediawiki><page><text>&a11;</text></page></mediawiki>")
    (folder / "file.xml").write_text('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><p>&x;</p></a>')
    (folder / "parameter.xml").write_text('<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><a><p>b</p></a>')


@cases("XML that is deep, wide and cut short", *TEXT, "too_deep", "damaged_xml", "no_text", "not_xml", "file_too_large",
       *SLOW)  # fmt: skip
def _xml(folder: Path, size: int) -> None:
    write_repeated(folder / "deep.xml", b"<p>", size)
    write_repeated(folder / "wide.xml", b"<p/>", size, start=b"<a>", end=b"</a>")
    write_repeated(folder / "comments.xml", b"<!--", size)
    names = b" ".join(b'a%d="b"' % number for number in range(size // 12))
    (folder / "attributes.xml").write_bytes(b"<a " + names + b"><p>" + PROSE.encode() + b"</p></a>")


MARKS = (
    b"{{",
    b"[[",
    b"{|",
    b"<ref>",
    b"<!--",
    b"&lt;ref&gt;",
    b"( ",
    b"[http://",
    b"==",
    b"''",
    b"}} ",
    b"{{}} [[",
    b"*",
)


@cases("wikitext of nothing but marks", *TEXT, "empty", "damaged_xml", "file_too_large", *SLOW)
def _marks(folder: Path, size: int) -> None:
    for number, mark in enumerate(MARKS):
        start = b"<mediawiki><page><title>a</title><ns>0</ns><revision><text>"
        end = b"</text></revision></page></mediawiki>"
        write_repeated(folder / f"{number}.xml", mark.replace(b"<", b"&lt;"), size, start, end)


# ---- tables


@cases("tables of documents that never end a field", *TEXT, "malformed_csv", "no_text", "not_utf8", *SLOW)
def _tables(folder: Path, size: int) -> None:
    write_repeated(folder / "quote.csv", b"words ", size, start=b'text\n"')
    write_repeated(folder / "quotes.csv", b'"\n"', size, start=b"text,b\n")
    write_repeated(folder / "columns.csv", b"text,", min(size, 200_000), end=b"\nwords\n")
    write_repeated(folder / "rows.csv", b",\n", size, start=b"text,b\n")


@cases("Arrow files with bytes changed", *TEXT, "damaged_arrow", "no_text", "not_utf8", "expands_too_far",
       "parser_failed", *SLOW)  # fmt: skip
def _arrow(folder: Path, size: int) -> None:
    table = pa.table({"text": [prose(str(number)) for number in range(40)]})
    chance = random.Random(8)
    for opener in (pa.ipc.new_file, pa.ipc.new_stream):
        sink = pa.BufferOutputStream()
        with opener(sink, table.schema) as writer:
            writer.write_table(table)
        data = sink.getvalue().to_pybytes()
        for number in range(12):
            changed = bytearray(data[: chance.randrange(len(data))] if number % 3 == 0 else data)
            for _ in range(4):
                if changed:
                    changed[chance.randrange(min(len(changed), 1200))] = chance.randrange(256)
            (folder / f"{opener.__name__}{number}.arrow").write_bytes(changed or b"A")
