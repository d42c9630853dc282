"""The readers of what holds documents: articles, dumps, crawls, books, archives, tables; and of Markdown."""

from __future__ import annotations

import io
import tarfile
import zipfile
from functools import partial
from pathlib import Path

from fuzz.documents import check_parsed, check_piece
from fuzz.target import LIMITS, InMemory, Target
from headwater.corpus.read.limits import Unusable
from headwater.corpus.read.markdown import read_markdown
from headwater.corpus.read.unwrap import unwrap
from headwater.corpus.read.wikitext import plain_text

_SIZES = ("file_too_large", "expands_too_far")
_WIKI = (
    b"<mediawiki xml:lang=\"en\"><page><title>A</title><ns>0</ns><revision><text>{{a|[[b]]}} ''c'' &lt;ref&gt;"
    b"</text></revision></page></mediawiki>"
)
_JATS = (
    b"<article><front><article-title>A</article-title></front><body><sec><title>B</title><p>c <code>d</code></p>"
    b"<table><tr><td>e</td><td>f</td></tr></table></sec></body></article>"
)
_CRAWL = (
    b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 66\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    b"<p>words of a page</p>\r\n\r\n"
)
_PACKAGE = (
    '<package><title>A</title><manifest><item id="a" href="a.html" media-type="text/html"/></manifest>'
    '<spine><itemref idref="a"/></spine></package>'
)
_BOOK = {
    "META-INF/container.xml": '<rootfile full-path="p.opf"/>',
    "p.opf": _PACKAGE,
    "a.html": "<h1>A</h1><p>b</p>",
}


def _zip(files: dict[str, str], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def _tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _file(name: str, file_format: str, reasons: tuple[str, ...], data: bytes, folder: Path) -> None:
    check_parsed(name, file_format, (*reasons, *_SIZES), data)


def _archive(name: str, data: bytes, folder: Path) -> None:
    reasons = ("not_zip", "damaged_zip", "not_tar", "damaged_tar")
    check_parsed(name, "archive", (*reasons, *_SIZES), data)


def _markdown(data: bytes, folder: Path) -> None:
    try:
        for piece in read_markdown(InMemory("a.md", data), LIMITS):
            check_piece(piece, is_bounded=False)
    except Unusable as error:
        assert error.reason in ("not_utf8", "binary"), error.reason


def _marks(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    plain_text(text)
    assert sorted("".join(unwrap(text).split()).replace("-", "")) == sorted("".join(text.split()).replace("-", "")), (
        "text lost"
    )


_XML_REASONS = (
    "not_xml",
    "damaged_xml",
    "declares_entities",
    "too_deep",
    "no_text",
    "damaged_html",
    "binary",
    "not_utf8",
)
_XML_WORDS = (
    b"<page>",
    b"<text>",
    b"</",
    b"<p>",
    b"<!DOCTYPE a [",
    b"<!ENTITY a 'b'>",
    b"&a;",
    b"&nbsp;",
    b"<![CDATA[",
    b"<?a?>",
)
_MARK_WORDS = (
    b"{{",
    b"}}",
    b"[[",
    b"]]",
    b"{|",
    b"|}",
    b"<ref>",
    b"</ref>",
    b"<!--",
    b"-->",
    b"== ",
    b"\n\n",
    b"-\n",
    b"\n- ",
)
_ZIP_WORDS = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\xff\xff\xff\xff", b"../", b"a.html", b"<itemref idref=")
_TAR_WORDS = (b"ustar\x0000", b"77777777777", b"\x80" + b"\xff" * 11, b"13 path=../a\n", b"x", b"L")
TARGETS = (
    Target("xml", lambda: (_WIKI, _JATS), partial(_file, "a.xml", "xml", _XML_REASONS), _XML_WORDS),
    Target(
        "warc",
        lambda: (_CRAWL,),
        partial(_file, "a.warc", "warc", ("not_warc", "damaged_warc")),
        (b"WARC/1.0\r\n", b"Content-Length: ", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n"),
    ),
    Target(
        "epub",
        lambda: (_zip(_BOOK),),
        partial(_file, "a.epub", "epub", ("not_epub", "damaged_epub", "encrypted", "damaged_member")),
        _ZIP_WORDS,
    ),
    Target("zip", lambda: (_zip({"a.txt": "words", "b.md": "# A"}),), partial(_archive, "a.zip.gz"), _ZIP_WORDS),
    Target("tar", lambda: (_tar({"a.txt": "words"}),), partial(_archive, "a.tar"), _TAR_WORDS),
    Target(
        "csv",
        lambda: (b'id,text\n1,"one ""two"""\n2,\n', b"text\tid\na\t1\n"),
        partial(_file, "a.csv", "csv", ("not_utf8", "binary", "malformed_csv", "no_text")),
        (b'"', b",", b"\r\n", b"\0", b"text"),
    ),
    Target("markdown", lambda: (b"---\ntitle: A\n---\n# B\n<!-- c -->\n```\nd\n```\n",), _markdown, _MARK_WORDS),
    Target(
        "marks",
        lambda: (b"== A ==\nb [[c|d]]\n* e\n\n" + b"words of a line that is long enough to be wrapped twice\n" * 4,),
        _marks,
        _MARK_WORDS,
    ),
)
