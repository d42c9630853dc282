"""Crawls: WARC and WET."""

from __future__ import annotations

import gzip

import pytest

PAGE = b"<html><head><title>Rain</title></head><body><main><p>It falls on the hills.</p></main></body></html>"


def record(kind: str, body: bytes, address: str = "https://water.example/rain", more: str = "") -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {address}\r\nWARC-Date: 2024-05-06T07:08:09Z\r\n"
        f"WARC-Record-ID: <urn:uuid:0>\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def response(body: bytes, kind: str = "text/html", status: str = "200 OK") -> bytes:
    return record(
        "response",
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
        more="Content-Type: application/http; msgtype=response\r\n",
    )


CRAWL = [
    record("warcinfo", b"software: x\r\n"),
    record("request", b"GET / HTTP/1.1\r\n\r\n", more="Content-Type: application/http; msgtype=request\r\n"),
    response(PAGE),
    response(b"gone", status="404 Not Found"),
    response(b"\x89PNG", kind="image/png"),
    response("<p>Grüße aus Köln</p>".encode("latin-1"), kind="text/html; charset=ISO-8859-1"),
]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.warc", b"".join(CRAWL)), ("a.warc.gz", b"".join(map(gzip.compress, CRAWL)))],
)
def test_pages_of_a_crawl_are_documents_and_other_answers_are_dropped(read, name, content):
    documents, drops = read(name, content, kind="web")
    assert [document.text for document in documents] == ["Rain\n\nIt falls on the hills.", "Grüße aus Köln"]
    assert [drop.reason for drop in drops] == ["not_found", "unknown_format"]
    assert documents[0].meta == {
        "title": "Rain",
        "url": "https://water.example/rain",
        "site": "water.example",
        "date": "2024-05-06",
    }


def test_a_page_cannot_say_where_it_was_found(read):
    page = PAGE.replace(
        b"</head>",
        b'<link rel="canonical" href="https://other.example/x"><meta property="og:site_name" content="Home"></head>',
    )
    (document,), _ = read("a.warc", response(page), kind="web")
    assert (document.meta["url"], document.meta["site"]) == ("https://water.example/rain", "water.example")
    assert (document.meta["canonical_url"], document.meta["site_name"]) == ("https://other.example/x", "Home")


def test_text_that_a_crawler_took_out_is_read_as_it_is(read):
    content = record("conversion", "Grüße\nZeile".encode(), more="Content-Type: text/plain\r\n")
    (document,), _ = read("a.warc.wet.gz", gzip.compress(content), kind="web")
    assert (document.text, document.meta["site"]) == ("Grüße\nZeile", "water.example")


def test_plain_text_is_decoded_in_the_charset_that_its_server_names(read):
    text = "Зимой здесь рано темнеет, и снег лежит до апреля.\n" * 20
    content = response(text.encode("koi8-r"), kind="text/plain; charset=koi8-r")
    (document,), _ = read("a.warc", content, kind="web")
    assert document.text.strip() == text.strip()


def test_what_was_done_to_a_page_on_its_way_is_undone(read):
    body = gzip.compress(PAGE)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    (document,), _ = read("a.warc", record("response", head + chunks), kind="web")
    assert document.text == "Rain\n\nIt falls on the hills."


def test_records_before_the_damage_count_and_one_too_large_costs_itself(read):
    content = response(b"<p>" + b"x" * 5000) + b"".join(CRAWL)
    documents, drops = read("a.warc", content[:-40], max_file_bytes=2000)
    assert len(documents) == 1
    assert [drop.reason for drop in drops] == ["file_too_large", "not_found", "unknown_format", "damaged_warc"]


@pytest.mark.parametrize(("content", "reason"), [(b"words", "not_warc"), (b"WARC/1.0\r\n", "damaged_warc")])
def test_what_is_no_crawl_is_dropped_with_a_reason(read, content, reason):
    documents, drops = read("a.warc", content)
    assert (documents, [drop.reason for drop in drops]) == ([], [reason])
