"""Parsers of other people's formats, as the tests of foreign bytes try them: seeds, words of the format, what must hold."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from made_files import http, pdf, pdf_stream, tarred, warc, zipped

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import REPLACED, encoding_of
from headwater.corpus.read.input import Member, parse
from headwater.corpus.read.json import read_jsonl
from headwater.corpus.read.limits import ReadLimits, Unusable, bounded
from headwater.corpus.read.mediawiki import plain_text
from headwater.corpus.read.plain import read_markdown, read_text
from headwater.corpus.read.processes import BadFrame, pack, unpack
from headwater.corpus.read.unwrap import unwrap
from headwater.corpus.samples.packages.dictd import read_dictd, read_wordnet
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword
from headwater.corpus.samples.texts import SampleText, Unreadable

LIMITS = ReadLimits(max_document_characters=2000, max_line_bytes=2000, max_file_bytes=4000)
MOST = LIMITS.max_document_characters


class Target(NamedTuple):
    """`try_one` takes bytes and a folder; it raises what its parser must not raise, or fails an assert.

    `words` are the format's, which a change may put in.
    """

    seeds: Callable[[], Sequence[bytes]]
    try_one: Callable[[bytes, Path], None]
    words: Sequence[bytes]


def in_memory(name: str, data: bytes) -> Member:
    return Member(Path(name), name, "mine", "text", data)


def check_piece(piece: Document | Drop, is_bounded: bool = True) -> None:
    if isinstance(piece, Drop):
        assert piece.reason and piece.num_bytes >= 0 and piece.num_documents >= (piece.reason != REPLACED)
        return
    assert not is_bounded or len(piece.text) <= MOST
    piece.text.encode()
    for kind in ("text", "code"):
        cleaned = clean(piece.text, kind)
        assert clean(cleaned, kind) == cleaned, "cleaning twice changes something"


def parsed(name: str, file_format: str, reasons: str, data: bytes, folder: Path) -> None:
    try:
        for piece in parse(in_memory(name, data), file_format, LIMITS):
            check_piece(piece)
    except Unusable as error:
        assert error.reason in [*reasons.split(), "file_too_large"], error.reason


def text(data: bytes, folder: Path) -> None:
    pieces: list[Document | Drop] = []
    try:
        pieces += bounded(read_text(in_memory("a.txt", data), LIMITS), MOST)
    except Unusable as error:
        assert error.reason in ("binary", "not_utf8"), error.reason
        assert not pieces, "a text is kept or dropped as one"
        return
    for piece in pieces:
        check_piece(piece)
    read = "".join(piece.text for piece in pieces if isinstance(piece, Document))
    assert read == data.decode(encoding_of(data), "replace"), "text was lost"


def json_lines(data: bytes, folder: Path) -> None:
    pieces = list(bounded(read_jsonl(in_memory("a.jsonl", data), LIMITS), MOST))
    for piece in pieces:
        check_piece(piece)
    lines = [line for line in data.split(b"\n") if line.strip()]
    kept = {piece.id.split("/")[0] for piece in pieces if isinstance(piece, Document)}
    dropped = sum(piece.num_documents for piece in pieces if isinstance(piece, Drop))
    assert len(kept) + dropped == len(lines), "a line is neither kept nor dropped"


def messages(data: bytes, folder: Path) -> None:
    try:
        packed = pack(unpack(data))
    except BadFrame:
        return
    assert pack(unpack(packed)) == packed


def markdown(data: bytes, folder: Path) -> None:
    try:
        for piece in read_markdown(in_memory("a.md", data), LIMITS):
            check_piece(piece, is_bounded=False)
    except Unusable as error:
        assert error.reason in ("not_utf8", "binary"), error.reason


def marks(data: bytes, folder: Path) -> None:
    given = data.decode("utf-8", "replace")
    plain_text(given)
    bare = sorted("".join(given.split()).replace("-", ""))
    assert sorted("".join(unwrap(given).split()).replace("-", "")) == bare, "text lost"


# ---- packages' own formats: behind a compressor's checksum changes find nothing, so half of the inputs are what is
# inside, behind right sizes


def readable(read: Callable[[Path, str, int], Iterator[SampleText]], path: Path, reason: str) -> None:
    texts = read(path, path.name, LIMITS.max_file_bytes)
    documents = (Document(each.text, "mine", each.id, each.origin, "text", each.meta) for each in texts)
    try:
        for piece in bounded(documents, MOST):
            check_piece(piece)
    except Unreadable as error:
        assert error.reason in (reason, "file_too_large", "expands_too_far"), error.reason


def rdata(data: bytes, folder: Path) -> None:
    is_inside, data = data[:1] < b"\x80", data[1:]
    sealed = struct.pack(">I", len(data)) + zlib.compress(data, 1)
    (folder / "a.rdb").write_bytes(sealed + sealed if is_inside else data)
    readable(read_rdata, folder / "a.rdb", "damaged_rdata")


def sword(data: bytes, folder: Path) -> None:
    is_inside, data = data[:1] < b"\x80", data[1:]
    sealed = zlib.compress(data, 1)
    (folder / "a.bzs").write_bytes(struct.pack("<III", 0, len(sealed), len(data)) if is_inside else data[:24])
    (folder / "a.bzz").write_bytes(sealed if is_inside else data[24:])
    readable(read_sword, folder / "a.bzz", "damaged_sword")


def dictd(data: bytes, folder: Path) -> None:
    index, _, rest = data.partition(b"\0")
    (folder / "a.index").write_bytes(index)
    (folder / "a.dict.dz").write_bytes(gzip.compress(rest[1:], 1) if rest[:1] < b"\x80" else rest[1:])
    readable(read_dictd, folder / "a.dict.dz", "damaged_dictionary")


def wordnet(data: bytes, folder: Path) -> None:
    (folder / "data.noun").write_bytes(data)
    readable(read_wordnet, folder / "data.noun", "damaged_wordnet")


# ---- seeds


SHOWN = pdf_stream("BT /F 12 Tf 50 700 Td (Words of a page) Tj 0 -14 Td (and more of them-) Tj ET")
PDF_PAGE = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
FONT = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
PDF = pdf(["<</Type/Catalog/Pages 2 0 R/Lang(en)>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", PDF_PAGE, SHOWN, FONT])
NOTEBOOK = (
    b'{"cells": [{"cell_type": "markdown", "source": ["# A\\n", "b"]}, {"cell_type": "code", "source": "c = 1"}], '
    b'"metadata": {"kernelspec": {"language": "python"}}}'
)
WIKI = (
    b"<mediawiki xml:lang=\"en\"><page><title>A</title><ns>0</ns><revision><text>{{a|[[b]]}} ''c'' &lt;ref&gt;"
    b"</text></revision></page></mediawiki>"
)
JATS = (
    b"<article><front><article-title>A</article-title></front><body><sec><title>B</title><p>c <code>d</code></p>"
    b"<table><tr><td>e</td><td>f</td></tr></table></sec></body></article>"
)
CRAWL = warc("response", http(b"<p>words of a page</p>"))
PACKAGE = (
    '<package><title>A</title><manifest><item id="a" href="a.html" media-type="text/html"/></manifest>'
    '<spine><itemref idref="a"/></spine></package>'
)
BOOK = {
    "META-INF/container.xml": '<rootfile full-path="p.opf"/>',
    "p.opf": PACKAGE,
    "a.html": "<h1>A</h1><p>b</p>",
}
PAGE = b"<html><title>A page</title><body><main><h1>Rivers</h1><p>They flow.</p><ul><li>one<li><a>two</a></ul>"
SYNSET = b"00000001 03 n 02 word 0 other_word 0 000 | what it means\n"
STRING = struct.pack(">ii", 9, 1) + b"a"
VECTOR = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">ii", 16, 20) + STRING * 20
WRAPPED = b"== A ==\nb [[c|d]]\n* e\n\n" + b"words of a line that is long enough to be wrapped twice\n" * 4

TEXT_WORDS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\r\n", b"\xe2\x80\xa8", b"\xcc\x80\xcc\x95")
JSON_WORDS = (b'{"text": "', b"\n", *rb'"content" "title" null \ud800 \u0000 [[[[ 1e999 NaN'.split())
NOTEBOOK_WORDS = (*JSON_WORDS, *b'"worksheets" "heading" "level" ```'.split())
HTML_WORDS = (
    *b"<p> <ul><li> </ <!-- --> <script> <table> <title> <svg> <template> &amp; &#x10ffff; utf-8 idna".split(),
    *(b'<meta charset="', b"<![CDATA[", b"<a href=", b"<font a>", b"<select>"),
)
XML_WORDS = (*b"<page> <text> </ <p> &a; &nbsp; <![CDATA[ <?a?>".split(), b"<!DOCTYPE a [", b"<!ENTITY a 'b'>")
MARK_WORDS = (*b"{{ }} [[ ]] {| |} <ref> </ref> <!-- -->".split(), b"== ", b"\n\n", b"-\n", b"\n- ")
ZIP_WORDS = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\xff\xff\xff\xff", b"../", b"a.html", b"<itemref idref=")
TAR_WORDS = (b"ustar\x0000", b"77777777777", b"\x80" + b"\xff" * 11, b"13 path=../a\n", b"x", b"L")
WARC_WORDS = (
    b"WARC/1.0\r\n",
    b"Content-Length: ",
    b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"Transfer-Encoding: chunked\r\n",
)
PDF_WORDS = (*b"obj endobj endstream << >> /Kids[ Tj xref".split(), b"stream\n", b"/Length ", b" 0 R")
RDATA_WORDS = (STRING, b"\xff\xff\xff\xff", b"\xff\xff\xff\xf8", b"\x7f\xff\xff\xff")
SWORD_WORDS = (*b"<note> </note> <p> <title> &#x".split(), b'<milestone n="')

HTML_REASONS = "not_html damaged_html binary not_utf8 too_deep"
XML_REASONS = "not_xml damaged_xml declares_entities too_deep no_text damaged_html binary not_utf8 expands_too_far"
ARCHIVE_REASONS = "not_zip damaged_zip not_tar damaged_tar expands_too_far"
EPUB_REASONS = "not_epub damaged_epub damaged_xml declares_entities too_deep encrypted damaged_member expands_too_far"
CSV_REASONS = "not_utf8 binary malformed_csv no_text expands_too_far"
PDF_REASONS = "not_pdf damaged_pdf encrypted no_text expands_too_far"
# name: file, format, what it may be refused for, words, seeds
PARSED: dict[str, tuple[str, str, str, Sequence[bytes], Sequence[bytes]]] = {
    "json": ("a.json", "json", "malformed_json not_utf8", JSON_WORDS,
             (b'[{"text": "one"}, {"x": [1, 2.5, null]}]', b'{"text": "a"}\n{"text": "b"}\n')),
    "notebook": ("a.ipynb", "notebook", "malformed_json not_utf8 not_notebook no_text", NOTEBOOK_WORDS, (NOTEBOOK,)),
    "html": ("a.html", "html", HTML_REASONS, HTML_WORDS, (PAGE, b'<meta charset="iso-8859-1"><p>Gr\xfc\xdfe</p>')),
    "xml": ("a.xml", "xml", XML_REASONS, XML_WORDS, (WIKI, JATS)),
    "warc": ("a.warc", "warc", "not_warc damaged_warc expands_too_far", WARC_WORDS, (CRAWL,)),
    "epub": ("a.epub", "epub", EPUB_REASONS, ZIP_WORDS, (zipped(BOOK),)),
    "zip": ("a.zip.gz", "archive", ARCHIVE_REASONS, ZIP_WORDS, (zipped({"a.txt": "words", "b.md": "# A"}),)),
    "tar": ("a.tar", "archive", ARCHIVE_REASONS, TAR_WORDS, (tarred({"a.txt": "words"}),)),
    "csv": ("a.csv", "csv", CSV_REASONS, (b'"', b",", b"\r\n", b"\0", b"text"),
            (b'id,text\n1,"one ""two"""\n2,\n', b"text\tid\na\t1\n")),
    "pdf": ("a.pdf", "pdf", PDF_REASONS, PDF_WORDS, (PDF, PDF.replace(b"startxref", b"start"))),
}  # fmt: skip
READ: dict[str, tuple[Callable[[bytes, Path], None], Sequence[bytes], Sequence[bytes]]] = {
    "text": (text, TEXT_WORDS, (b"Words of a text.\n", "Grüße 世界".encode("utf-16"))),
    "json-lines": (json_lines, JSON_WORDS, (b'{"text": "one"}\n{"content": "two"}\n', b'{"text": "cut')),
    "messages": (messages, JSON_WORDS, (pack({"text": "words", "part": "#1", "meta": {}}), pack({"end": ""}))),
    "markdown": (markdown, MARK_WORDS, (b"---\ntitle: A\n---\n# B\n<!-- c -->\n```\nd\n```\n",)),
    "marks": (marks, MARK_WORDS, (WRAPPED,)),
    "dictd": (dictd, (b"\t", b"//////"), (b"a\tA\tD\nb\tD\tD\n\0\0ab\ncd\n", b"\0\xff" + gzip.compress(b"a"))),
    "rdata": (rdata, RDATA_WORDS, (b"\0" + VECTOR, b"\xff" + struct.pack(">I", 9) + zlib.compress(b"X\n" + bytes(7)))),
    "sword": (sword, SWORD_WORDS, (b"\0<title>A</title> b<note>c</note><p>d &amp; e</p>",
                                   b"\xff" + struct.pack("<III", 0, 9, 1) + bytes(12))),
    "wordnet": (wordnet, (b" | ", b"\n", b" ff ", b" -1 ", b"(p)"), (b"  1 licence\n" + SYNSET * 2,)),
}  # fmt: skip
TARGETS = {
    **{
        name: Target(lambda seeds=seeds: seeds, partial(parsed, file, file_format, reasons), words)
        for name, (file, file_format, reasons, words, seeds) in PARSED.items()
    },
    **{name: Target(lambda seeds=seeds: seeds, read, words) for name, (read, words, seeds) in READ.items()},
}
