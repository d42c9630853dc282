"""Web pages: deep, wide, unclosed, and such that a tree of them fills the memory."""

from __future__ import annotations

from hostility.case import JUNK, KEPT, SLOW, Case, Files, Repeated, prose


def body(seed: str) -> bytes:
    return f"<p>{prose(f'page {seed}')}</p>".encode()


BODY = body("river")
LARGE = f"file_too_large {SLOW}"
LABELS = {"charset": b"no-such", "zlib": b"zlib", "escapes": b"unicode_escape"}


def attributes(size: int) -> Files:
    names = b" ".join(b"a%d=1" % number for number in range(size // 10))
    return {"attributes.html": b"<p " + names + b">" + body("attribute")}


def nested_lists(size: int) -> Files:
    lists = b"<ul><li>" * 140 + b"words of a list " * (size // 100) + b"</li></ul>" * 140
    return {"nested.html": body("list") + lists}


def tables(size: int) -> Files:
    return {"tables.html": b"<body>" + b"<table><a>x</a>" * (min(size // 10, 3000) // 15)}


FONTS = b"<body>" + b"".join(b"<font size=%d>" % number for number in range(200))
ENTITIES = b"&amp;&#x10ffff;&#99999999999;&CounterClockwiseContourIntegral;"

CASES = [
    Case("pages in no charset, in zlib, in escapes", f"{KEPT} too_short",
         {f"{name}.html": b'<meta charset="%s"><p>%s \xff\\x41</p>' % (label, name.encode()) for name, label in LABELS.items()}),
    Case("a page in punycode", JUNK, {"punycode.html": b'<meta charset="punycode"><p>\xff' + b"-a" * 50_000}),
    Case("tags that aren't closed", f"{KEPT} {JUNK} empty too_short", {"open.html": b"<p><b><i><a href='" + BODY}),
    Case("end tags alone", KEPT, {"ends.html": b"</p></div></body></html>" * 99 + body("end")}),
    Case("two bodies", KEPT, {"bodies.html": (b"<html><body>" + body("body") + b"</body>") * 2}),
    Case("frames and templates", f"{KEPT} too_short empty", {"frames.html": b"<frameset><template><svg><math><p>" + BODY}),
    Case("elements 100,000 deep", f"too_deep {LARGE}", {"deep.html": Repeated(b"<div>", least=500_000)}),
    Case("lists that aren't closed", f"too_deep {LARGE}", {"lists.html": Repeated(b"<ul><li>", least=500_000)}),
    Case("nothing but brackets", f"not_html {SLOW}", {"brackets.html": Repeated(b"<")}, 60_000_000),
    Case("brackets in a page", f"{KEPT} {JUNK} too_short {SLOW}", {"page.html": Repeated(b"<", b"<p>")}, 20_000_000),
    Case("an attribute as large as a book", f"{KEPT} {LARGE}",
         {"attribute.html": Repeated(b"a", b'<p class="', b'">' + body("book"))}, 60_000_000),
    Case("an element of many attributes", f"{KEPT} {LARGE}", attributes, 10_000_000),
    Case("paragraphs that inherit 200 fonts each", f"{SLOW} {KEPT} {JUNK} too_short too_deep",
         {"fonts.html": Repeated(b"<p>x", FONTS, share=1 / 50)}, 1_000_000),
    Case("cells outside of their table", f"{SLOW} {KEPT} {JUNK} too_short too_deep", tables, 1_000_000),
    Case("as many elements as fit", f"{SLOW} {KEPT} {JUNK} too_short empty damaged_html", {"elements.html": Repeated(b"<p>")}, 60_000_000),
    Case("a comment without an end", f"{KEPT} too_short empty {SLOW}",
         {"comment.html": Repeated(b"-- <p> ", b"<p>x<!--")}, 60_000_000),
    Case("a title as long as a book", f"{KEPT} {JUNK} {SLOW}",
         {"title.html": Repeated(b"title ", b"<title>", b"</title>" + body("title"))}, 20_000_000),
    Case("lists in lists, with text", f"{KEPT} {JUNK} {SLOW} too_deep", nested_lists, 2_000_000),
    Case("entities, named and numbered", f"{KEPT} {JUNK} {SLOW} too_short wrongly_decoded",
         {"entities.html": Repeated(ENTITIES, b"<p>")}, 20_000_000),
]  # fmt: skip
