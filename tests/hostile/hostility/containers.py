"""Compressed files, books, crawls, articles and archives: in circles, out of proportion, damaged, saying what isn't so."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib

from made_files import by_arrow, pdf, pdf_stream, warc, zipped

from hostility.case import JUNK, KEPT, MIB, PROSE, SLOW, TEXT, Case, Files, Repeated, changed, prose

BOMB_FACTOR = 16  # a bomb expands to this many times the requested size, and to 64 MB at least
SHORT = gzip.compress(PROSE.encode())


# ---- compressed files


def gzip_bombs(name: str, member: bytes, size: int) -> Files:
    """Return a gzip of a mebibyte over and over: its members are read as one text."""
    return {name: gzip.compress(member, 9) * max(64, BOMB_FACTOR * size // MIB)}


def zstd_bomb(size: int) -> Files:
    return {"bomb.txt.zst": by_arrow(b"bomb" * (16 * MIB)) * max(1, BOMB_FACTOR * size // (64 * MIB))}


def damaged_zstd(size: int) -> Files:
    data = by_arrow(b"".join(b"%d words\n" % number for number in range(20_000)))
    places = range(4, len(data), len(data) // 12)
    bad = {f"bad{at}.txt.zst": data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in places}
    return bad | {f"cut{at}.txt.zst": data[:at] for at in places}


def xz_of_memory(size: int) -> Files:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}]
    return {"memory.txt.xz": lzma.compress(PROSE.encode(), filters=filters)}


def other_bombs(size: int) -> Files:
    data = b"bomb" * (MIB // 4)
    return {"bomb.txt.bz2": bz2.compress(data) * 16, "bomb.txt.xz": lzma.compress(data) * 16}


LINES = (b'{"text": 1, "more": "%s"}\n' % (b"x" * 100)) * 8000
COMPRESSED = [
    Case("a gzip of nothing", "empty", {"nothing.txt.gz": gzip.compress(b"")}),
    Case("a gzip in a gzip", "unknown_format", {"twice.txt.gz.gz": gzip.compress(SHORT)}),
    Case("the start of a gzip", "damaged_gzip not_gzip", {"start.txt.gz": SHORT[:12]}),
    Case("a gzip with words behind it", f"{KEPT} damaged_gzip exact_duplicate", {"behind.txt.gz": SHORT + b"words"}),
    Case("a zstd that wants 2 GB of window", "damaged_zstd", {"window.txt.zst": b"\x28\xb5\x2f\xfd\0\xa8\x01\0\0"}),
    Case("a zstd of skipped frames", "not_zstd", {"skipped.txt.zst": b"\x50\x2a\x4d\x18\4\0\0\0skip"}),
    Case("a gzip of 1000 : 1", "expands_too_far", lambda size: gzip_bombs("bomb.txt.gz", b"bomb" * (MIB // 4), size)),
    Case("a gzip of 1000 : 1, of JSON lines", "expands_too_far no_text",
         lambda size: gzip_bombs("bomb.jsonl.gz", LINES, size)),
    Case("a gzip of 1000 : 1, of a page", "expands_too_far file_too_large",
         lambda size: gzip_bombs("bomb.html.gz", b"bomb" * (MIB // 4), size)),
    Case("a zstd of 10,000 : 1", "expands_too_far", zstd_bomb),
    Case("zstds cut short and damaged", f"damaged_zstd not_utf8 binary {KEPT} {JUNK}", damaged_zstd),
    Case("a bz2 and an xz of 10,000 : 1", "expands_too_far", other_bombs),
    Case("an xz that wants 256 MiB of memory", "damaged_xz", xz_of_memory),
]  # fmt: skip

# ---- PDF

ROOT, FONT = "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>"
PAGE = "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F 4 0 R >> /XObject << /X 6 0 R >> >> >>"
SHOWN = pdf_stream(f"BT /F 9 Tf 72 700 Td ({PROSE[:300]}) Tj ET /X Do".replace("\n", " "))
FORM = pdf_stream("/X Do", "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >>")
PAGES = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
WHOLE = [ROOT, PAGES, PAGE, FONT, SHOWN, FORM]
CIRCLES = {
    "pages.pdf": pdf([ROOT, "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"]),
    "counts.pdf": pdf([ROOT, "<< /Type /Pages /Kids [3 0 R] /Count 2000000000 >>", *WHOLE[2:]]),
    "forms.pdf": pdf(WHOLE),
    "lengths.pdf": pdf([*WHOLE[:4], "<< /Length 5 0 R >>\nstream\nBT ET\nendstream"]),
    "arrays.pdf": pdf([ROOT, PAGES, PAGE.replace("5 0 R", "[" * 20_000), FONT]),
    "tables.pdf": pdf(WHOLE, start="9", more="/Prev 9"),
}


def one_page(size: int) -> Files:
    pages = f"<< /Type /Pages /Kids [{'3 0 R ' * (size // 400)}] /Count {size // 400} >>"
    return {"many.pdf": pdf([ROOT, pages, *WHOLE[2:]])}


def expanding_stream(size: int) -> Files:
    content = zlib.compress(b"BT /F 9 Tf (bomb) Tj ET\n" * (8 * size // 24), 9).decode("latin-1")
    return {"stream.pdf": pdf([ROOT, PAGES, PAGE, FONT, pdf_stream(content, "/Filter /FlateDecode"), FORM])}


PDFS = f"{TEXT} no_text damaged_pdf {SLOW}"
BOOKS = [
    Case("PDFs in circles", PDFS, CIRCLES),
    Case("a PDF of one page, many times", f"{PDFS} expands_too_far", one_page),
    Case("a PDF whose stream expands", f"{PDFS} expands_too_far", expanding_stream),
    Case("PDFs with bytes changed", f"{PDFS} not_pdf encrypted wrongly_decoded",
         {f"{number}.pdf": data for number, data in enumerate(changed(pdf(WHOLE), 6, 20, 8))}),
]  # fmt: skip

# ---- archives


def overlapping(size: int) -> Files:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", b"bomb" * MIB)
        archive.filelist *= 1000
    return {"over.zip": buffer.getvalue()}


def changed_zips(size: int) -> Files:
    data = zipped({f"{number}.txt": prose(str(number)) for number in range(9)})
    return {f"{number}.zip": each for number, each in enumerate(changed(data, 7, 20, 6, start=0.5))}


def nested(size: int) -> Files:
    inner = zipped({"a.txt": PROSE})
    for _ in range(9):
        inner = zipped({f"{number}.zip": inner for number in range(3)})
    return {"nested.zip": inner}


def header(name: str, length: bytes, kind: bytes = b"0") -> bytes:
    """Return the header of a member of a tar that is said to have a length."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157] = length.ljust(12, b"\0"), kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


LENGTHS = {"octal": b"77777777777", "negative": b"\xff" * 12, "long": b"\x80" + b"\x7f" * 11, "words": b"words"}
TARS = {
    f"{name}-{kind}.tar": header("a.txt", length, kind.encode()) + bytes(5120)
    for name, length in LENGTHS.items()
    for kind in "0LxS"
}
PAX = header("a", b"1000", b"x") + b"999999999999 path=a\n".ljust(512, b"x") + bytes(5120)


def tar_bomb(size: int) -> Files:
    member = tarfile.TarInfo("bomb.txt")
    member.size = MIB
    block = gzip.compress((member.tobuf() + b"bomb" * (MIB // 4)) * 8, 9)
    return {"bomb.tar.gz": block * max(16, 2 * size // MIB)}


def traversal(size: int) -> Files:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind in (("../up.txt", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("device", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc"
            tar.addfile(entry)
    return {"up.zip": zipped({"../../up.txt": b"up", "/etc/headwater-up": b"up"}), "up.tar": data.getvalue()}


DAMAGED = "damaged_zip not_zip damaged_member encrypted unknown_format not_utf8"
ARCHIVES = [
    Case("a zip of 1000 : 1", "expands_too_far file_too_large",
         lambda size: {"bomb.zip": zipped({f"{number}.txt": b"bomb" * (4 * MIB) for number in range(4)})}),
    Case("a zip with one member, many times over", f"{TEXT} expands_too_far damaged_member damaged_zip", overlapping),
    Case("zips with bytes changed", f"{TEXT} {DAMAGED} expands_too_far file_too_large binary {SLOW}", changed_zips),
    Case("archives of archives of archives", "unknown_format", nested),
    Case("tars that say what isn't so", f"{TEXT} not_tar damaged_tar expands_too_far file_too_large binary {SLOW}",
         TARS | {"pax.tar": PAX}),
    Case("a tar of 1000 : 1", f"{TEXT} expands_too_far file_too_large", tar_bomb),
    Case("archives that want to write elsewhere", "too_short empty exact_duplicate link_in_archive not_a_file", traversal),
]  # fmt: skip

# ---- books of pages


def epubs(size: int) -> Files:
    container = '<container><rootfile full-path="%s"/></container>'
    names = ["../../etc/passwd", "/etc/passwd", "bomb.html", "a.html", "a.html"]
    items = "".join(f'<item id="{n}" href="{each}" media-type="text/html"/>' for n, each in enumerate(names))
    spine = "".join(f'<itemref idref="{n}"/>' for n in range(len(names)))
    package = f"{LAUGHS}<package><title>&a11;</title><manifest>{items}</manifest><spine>{spine}</spine></package>"
    files = {"a.html": f"<p>{prose('epub')}", "bomb.html": "<p>bomb</p>" * MIB}
    book = {"META-INF/container.xml": container % "p.opf", "p.opf": package, **files}
    return {
        "book.epub": zipped(book),
        "self.epub": zipped({"META-INF/container.xml": container % "META-INF/container.xml"}),
        "up.epub": zipped({"META-INF/container.xml": container % "../../etc/passwd"}),
        "items.epub": zipped({**book, "p.opf": package + '<item href="' * (size // 20)}),
    }


# ---- crawls

HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"


def crawls(size: int) -> Files:
    return {
        "length.warc": warc("response", b"", length=99999999999999),
        "negative.warc": warc("response", b"HTTP/", length=-5),
        "digits.warc": warc("response", b"").replace(b"Length: 0", b"Length: " + b"9" * 5000),
        "status.warc": warc("response", b"HTTP/ \r\n\r"),
        "gzip.warc": warc("response", HTTP + gzip.compress(b"<p>bomb " * (16 * MIB), 9)),
        "headers.warc": Repeated(b"a: b\r\n", b"WARC/1.0\r\n"),
        "line.warc": Repeated(b"a", b"WARC/1.0\r\n"),
        "blank.warc": Repeated(b"\r\n", b"WARC/1.0\r\nContent-Length: 0\r\n\r\n"),
        "address.warc": warc("conversion", b"words", "WARC-Target-URI: http://[::1"),
    }


def empty_records(size: int) -> Files:
    record = warc("resource", b"")
    return {"empty.warc.gz": gzip.compress(record * (4 * MIB // len(record)), 9) * max(3, size // MIB)}


# ---- XML

GROWN = "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
LAUGHS = f"<!DOCTYPE a [<!ENTITY a0 'ha'>{GROWN}]>"
MARKS = b"{{|[[|{!|<ref>|<!--|&lt;ref&gt;|( |[http://|==|''|}} |{{}} [[|*".split(b"|")


def wide_xml(size: int) -> Files:
    names = b" ".join(b'a%d="b"' % number for number in range(size // 12))
    return {
        "deep.xml": Repeated(b"<p>"),
        "wide.xml": Repeated(b"<p/>", b"<a>", b"</a>"),
        "comments.xml": Repeated(b"<!--"),
        "attributes.xml": b"<a " + names + b"><p>" + PROSE.encode() + b"</p></a>",
    }


def marks(mark: bytes) -> Repeated:
    start = b"<mediawiki><page><title>a</title><ns>0</ns><revision><text>"
    shown = mark.replace(b"!", b"|").replace(b"<", b"&lt;")
    return Repeated(shown, start, b"</text></revision></page></mediawiki>")


OTHERS = [
    Case("EPUBs that point elsewhere and expand", f"{TEXT} missing_in_archive expands_too_far damaged_epub declares_entities "
         f"not_html not_utf8 binary {SLOW}", epubs),
    Case("crawls that say what isn't so", f"{TEXT} not_warc damaged_warc damaged_http unknown_format file_too_large not_html "
         f"{SLOW}", crawls),
    Case("a crawl of empty records", f"expands_too_far unknown_format empty too_short {SLOW}", empty_records),
    Case("entities of entities", "declares_entities damaged_xml", {
        "laughs.xml": f"{LAUGHS}<article><p>&a11;</p></article>",
        "wiki.xml": f"{LAUGHS}<mediawiki><page><text>&a11;</text></page></mediawiki>",
        "parameter.xml": '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><a><p>b</p></a>',
    }),
    Case("XML that is deep, wide and cut short", f"{TEXT} too_deep damaged_xml no_text not_xml file_too_large {SLOW}", wide_xml),
    Case("wikitext of nothing but marks", f"{TEXT} damaged_xml file_too_large {SLOW}",
         {f"{number}.xml": marks(mark) for number, mark in enumerate(MARKS)}),
]  # fmt: skip
CASES = [*COMPRESSED, *BOOKS, *ARCHIVES, *OTHERS]
