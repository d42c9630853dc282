"""Web pages: deep, wide, unclosed, and such that a tree of them fills the memory."""

from __future__ import annotations

from pathlib import Path

from hostility.case import KEPT, Cases, write_repeated
from hostility.texts import JUNK, PROSE, prose

cases = Cases()
SLOW = ("parser_took_too_long", "parser_took_too_much_memory", "parser_died", "parser_failed")


def body(seed: str) -> bytes:
    return f"<p>{prose(f'page {seed}')}</p>".encode()


BODY = body("river")

cases.file("no page words.html", "not_html", content=PROSE.encode())
cases.file("a page of zeros zeros.html", "binary", content=b"<p>" + b"\0" * 99)
cases.file("a page in no charset charset.html", "too_short", content=b'<meta charset="no-such"><p>\xff</p>')
cases.file("a page in punycode punycode.html", *JUNK, content=b'<meta charset="punycode"><p>\xff' + b"-a" * 50_000)
cases.file("a page in zlib zlib.html", "too_short", content=b'<meta charset="zlib"><p>\xff</p>')
cases.file("a page in escapes escapes.html", "too_short", content=b'<meta charset="unicode_escape"><p>\xff\\x41</p>')
cases.file("tags that aren't closed open.html", KEPT, "empty", "too_short", *JUNK, content=b"<p><b><i><a href='" + BODY)
cases.file("end tags alone ends.html", KEPT, content=b"</p></div></body></html>" * 99 + body("end"))
cases.file("two bodies bodies.html", KEPT, content=(b"<html><body>" + body("body") + b"</body>") * 2)
cases.file("frames and templates frames.html", KEPT, "too_short", "empty",
           content=b"<frameset><template><svg><math><p>" + BODY)  # fmt: skip


@cases("elements 100,000 deep", "too_deep", "file_too_large", *SLOW)
def _deep(folder: Path, size: int) -> None:
    write_repeated(folder / "deep.html", b"<div>", max(size, 500_000))


@cases("lists that aren't closed", "too_deep", "file_too_large", *SLOW)
def _lists(folder: Path, size: int) -> None:
    write_repeated(folder / "lists.html", b"<ul><li>", max(size, 500_000))


@cases("nothing but brackets", "not_html", *SLOW, largest=60_000_000)
def _brackets(folder: Path, size: int) -> None:
    write_repeated(folder / "brackets.html", b"<", size)


@cases("brackets in a page", KEPT, *JUNK, "too_short", *SLOW, largest=20_000_000)
def _brackets_in_a_page(folder: Path, size: int) -> None:
    write_repeated(folder / "page.html", b"<", size, start=b"<p>")


@cases("an attribute as large as a book", KEPT, "file_too_large", *SLOW, largest=60_000_000)
def _attribute(folder: Path, size: int) -> None:
    write_repeated(folder / "attribute.html", b"a", size, start=b'<p class="', end=b'">' + body("book"))


@cases("an element of many attributes", KEPT, "file_too_large", *SLOW, largest=10_000_000)
def _attributes(folder: Path, size: int) -> None:
    names = b" ".join(b"a%d=1" % number for number in range(size // 10))
    (folder / "attributes.html").write_bytes(b"<p " + names + b">" + body("attribute"))


@cases("paragraphs that inherit 200 fonts each", *SLOW, KEPT, *JUNK, "too_short", "too_deep", largest=1_000_000)
def _fonts(folder: Path, size: int) -> None:
    fonts = b"".join(b"<font size=%d>" % number for number in range(200))
    write_repeated(folder / "fonts.html", b"<p>x", size // 50, start=b"<body>" + fonts)


@cases("cells outside of their table", *SLOW, KEPT, *JUNK, "too_short", "too_deep", largest=1_000_000)
def _tables(folder: Path, size: int) -> None:
    write_repeated(folder / "tables.html", b"<table><a>x</a>", min(size // 10, 3000), start=b"<body>")


@cases("as many elements as fit", *SLOW, KEPT, *JUNK, "too_short", "empty", "damaged_html", largest=60_000_000)
def _elements(folder: Path, size: int) -> None:
    write_repeated(folder / "elements.html", b"<p>", size)


@cases("a comment without an end", KEPT, "too_short", "empty", *SLOW, largest=60_000_000)
def _comment(folder: Path, size: int) -> None:
    write_repeated(folder / "comment.html", b"-- <p> ", size, start=b"<p>x<!--")


@cases("a title as long as a book", KEPT, *JUNK, *SLOW, largest=20_000_000)
def _title(folder: Path, size: int) -> None:
    write_repeated(folder / "title.html", b"title ", size, start=b"<title>", end=b"</title>" + body("title"))


@cases("lists in lists, with text", KEPT, *JUNK, *SLOW, "too_deep", largest=2_000_000)
def _nested_lists(folder: Path, size: int) -> None:
    lists = b"<ul><li>" * 140 + b"words of a list " * (size // 100) + b"</li></ul>" * 140
    (folder / "nested.html").write_bytes(body("list") + lists)


@cases("entities, named and numbered", KEPT, *JUNK, *SLOW, "too_short", "wrongly_decoded", largest=20_000_000)
def _entities(folder: Path, size: int) -> None:
    write_repeated(
        folder / "entities.html", b"&amp;&#x10ffff;&#99999999999;&CounterClockwiseContourIntegral;", size, b"<p>"
    )
