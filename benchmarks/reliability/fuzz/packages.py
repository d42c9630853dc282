"""The readers of packages' own formats, and of PDF, whose pages another program takes apart.

Where a format compresses, half of the inputs are what is inside, behind right sizes: behind a compressor's checksum
a fuzzer finds nothing.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz.documents import check_parsed, check_piece
from fuzz.target import LIMITS, Target
from headwater.corpus.document import Document
from headwater.corpus.read.limits import bounded
from headwater.corpus.samples.packages.dictd import read_dictd
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword
from headwater.corpus.samples.packages.wordnet import read_wordnet
from headwater.corpus.samples.texts import SampleText, Unreadable

Read = Callable[[Path, str, int], Iterator[SampleText]]

_STRING = struct.pack(">ii", 9, 1) + b"a"
_VECTOR = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">ii", 16, 20) + _STRING * 20
_SYNSET = b"00000001 03 n 02 word 0 other_word 0 000 | what it means\n"
_PAGE = b"BT /F 12 Tf 50 700 Td (Words of a page) Tj 0 -14 Td (and more of them-) Tj ET"
_PDF_WORDS = (
    b"obj",
    b"endobj",
    b"stream\n",
    b"endstream",
    b"<<",
    b">>",
    b"/Kids[",
    b"/Length ",
    b" 0 R",
    b"Tj",
    b"xref",
)


def _readable(read: Read, path: Path, reasons: tuple[str, ...]) -> None:
    """Read a file and check its pieces; a reason that the reader doesn't name is a failure."""
    texts = read(path, path.name, LIMITS.max_file_bytes)
    documents = (Document(each.text, "mine", each.id, each.origin, "text", each.meta) for each in texts)
    try:
        for piece in bounded(documents, LIMITS.max_document_characters):
            check_piece(piece)
    except Unreadable as error:
        assert error.reason in (*reasons, "file_too_large", "expands_too_far"), error.reason


def _rdata(data: bytes, folder: Path) -> None:
    is_inside, data = data[:1] < b"\x80", data[1:]
    sealed = struct.pack(">I", len(data)) + zlib.compress(data, 1)
    (folder / "a.rdb").write_bytes(sealed + sealed if is_inside else data)
    _readable(read_rdata, folder / "a.rdb", ("damaged_rdata",))


def _sword(data: bytes, folder: Path) -> None:
    is_inside, data = data[:1] < b"\x80", data[1:]
    sealed = zlib.compress(data, 1)
    places = struct.pack("<III", 0, len(sealed), len(data)) if is_inside else data[:24]
    (folder / "a.bzs").write_bytes(places)
    (folder / "a.bzz").write_bytes(sealed if is_inside else data[24:])
    _readable(read_sword, folder / "a.bzz", ("damaged_sword",))


def _dictd(data: bytes, folder: Path) -> None:
    index, _, rest = data.partition(b"\0")
    (folder / "a.index").write_bytes(index)
    (folder / "a.dict.dz").write_bytes(gzip.compress(rest[1:], 1) if rest[:1] < b"\x80" else rest[1:])
    _readable(read_dictd, folder / "a.dict.dz", ("damaged_dictionary",))


def _wordnet(data: bytes, folder: Path) -> None:
    (folder / "data.noun").write_bytes(data)
    _readable(read_wordnet, folder / "data.noun", ("damaged_wordnet",))


def _pdf(data: bytes, folder: Path) -> None:
    check_parsed(
        "a.pdf", "pdf", ("not_pdf", "damaged_pdf", "encrypted", "no_text", "file_too_large", "expands_too_far"), data
    )


def pdf_of(page: bytes) -> bytes:
    """Return a PDF of one page without a table of places, so that readers search for its objects."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R/Lang(en)>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length " + str(len(page)).encode() + b">>stream\n" + page + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    body = b"".join(str(number).encode() + b" 0 obj" + each + b"endobj\n" for number, each in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R/Size 6>>\n%%EOF"


TARGETS = (
    Target(
        "dictd",
        lambda: (b"a\tA\tD\nb\tD\tD\n\0\0ab\ncd\n", b"\0\xff" + gzip.compress(b"a")),
        _dictd,
        (b"\t", b"//////"),
    ),
    Target(
        "rdata",
        lambda: (b"\0" + _VECTOR, b"\xff" + struct.pack(">I", 9) + zlib.compress(b"X\n" + bytes(7))),
        _rdata,
        (_STRING, b"\xff\xff\xff\xff", b"\xff\xff\xff\xf8", b"\x7f\xff\xff\xff"),
    ),
    Target(
        "sword",
        lambda: (
            b"\0<title>A</title> b<note>c</note><p>d &amp; e</p>",
            b"\xff" + struct.pack("<III", 0, 9, 1) + bytes(12),
        ),
        _sword,
        (b"<note>", b"</note>", b"<p>", b"<title>", b"&#x", b'<milestone n="'),
    ),
    Target("wordnet", lambda: (b"  1 licence\n" + _SYNSET * 2,), _wordnet, (b" | ", b"\n", b" ff ", b" -1 ", b"(p)")),
    Target("pdf", lambda: (pdf_of(_PAGE),), _pdf, _PDF_WORDS),
)
