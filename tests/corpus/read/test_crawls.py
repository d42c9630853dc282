"""Crawls: WARC and WET."""

from __future__ import annotations

import gzip
import zlib

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_files import by_arrow, http, warc

PAGE = b"<html><head><title>Rain</title></head><body><main><p>It falls on the hills.</p></main></body></html>"
FIELDS = (
    "WARC-Target-URI: https://water.example/rain",
    "WARC-Date: 2024-05-06T07:08:09Z",
    "WARC-Record-ID: <urn:uuid:0>",
)


def response(*answer: str | bytes, **status: str) -> bytes:
    return warc("response", http(*answer, **status), *FIELDS, "Content-Type: application/http; msgtype=response")


CRAWL = [
    warc("warcinfo", b"software: x\r\n", *FIELDS),
    warc("request", b"GET / HTTP/1.1\r\n\r\n", *FIELDS, "Content-Type: application/http; msgtype=request"),
    response(PAGE),
    response(b"gone", status="404 Not Found"),
    response(b"\x89PNG", "image/png"),
    response("<p>Grüße aus Köln</p>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
]


@pytest.mark.parametrize(
    ("name", "content"), [("a.warc", b"".join(CRAWL)), ("a.warc.gz", b"".join(map(gzip.compress, CRAWL)))]
)
def test_pages_of_a_crawl_are_documents_and_other_answers_are_dropped(read, name, content):
    documents, drops = read(name, content, kind="web")
    assert [document.text for document in documents] == ["Rain\n\nIt falls on the hills.", "Grüße aus Köln"]
    assert [drop.reason for drop in drops] == ["not_found", "unknown_format"]
    where = {"url": "https://water.example/rain", "site": "water.example", "date": "2024-05-06"}
    assert documents[0].meta == {"title": "Rain", **where}


def test_a_page_cannot_say_where_it_was_found(read):
    said = b'<link rel="canonical" href="https://other.example/x"><meta property="og:site_name" content="Home"></head>'
    (document,), _ = read("a.warc", response(PAGE.replace(b"</head>", said)), kind="web")
    assert (document.meta["url"], document.meta["site"]) == ("https://water.example/rain", "water.example")
    assert (document.meta["canonical_url"], document.meta["site_name"]) == ("https://other.example/x", "Home")


def test_text_that_a_crawler_took_out_is_read_as_it_is_and_other_text_by_its_charset(read):
    converted = warc("conversion", "Grüße\nZeile".encode(), *FIELDS, "Content-Type: text/plain")
    (document,), _ = read("a.warc.wet.gz", gzip.compress(converted), kind="web")
    assert (document.text, document.meta["site"]) == ("Grüße\nZeile", "water.example")
    text = "Зимой здесь рано темнеет, и снег лежит до апреля.\n" * 20
    (document,), _ = read("a.warc", response(text.encode("koi8-r"), "text/plain; charset=koi8-r"), kind="web")
    assert document.text.strip() == text.strip()


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": lambda body: zlib.compress(body)[2:-4],
    "br": lambda body: by_arrow(body, "brotli"),
    "zstd": lambda body: pa.Codec("zstd").compress(body, asbytes=True),
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("is_undone", [False, True])
def test_what_was_done_to_a_page_on_its_way_is_undone(read, coding, is_undone):
    body = PAGE if is_undone else CODINGS[coding](PAGE)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    answer = response(chunks, "text/html", f"Content-Encoding: {coding}", "Transfer-Encoding: chunked")
    (document,), _ = read("a.warc", answer, kind="web")
    assert document.text == "Rain\n\nIt falls on the hills."


@pytest.mark.parametrize(
    ("coding", "reason"), [("br", "damaged_http"), ("zstd", "damaged_http"), ("dcb", "unknown_format")]
)
def test_a_coding_that_is_damaged_or_not_read_is_named(read, coding, reason):
    answer = response(b"\x28\xb5\x2f\xfd\x00\x01\x02\x03", "text/html", f"Content-Encoding: {coding}")
    _, (drop,) = read("a.warc", answer, kind="web")
    assert drop.reason == reason and coding in drop.because


def test_a_record_too_large_and_one_cut_short_cost_themselves(read):
    content = response(b"<p>" + b"x" * 5000) + b"".join(CRAWL)
    documents, drops = read("a.warc", content[:-40], max_file_bytes=2000)
    assert len(documents) == 1
    assert [drop.reason for drop in drops] == ["file_too_large", "not_found", "unknown_format", "damaged_warc"]
    assert drops[-1].num_bytes == len(CRAWL[-1]) - 40


def words_of_page(number: int) -> list[str]:
    return f"Page {number} tells of rain.".split() + [str(number * at * at) for at in range(10 + number % 3 * 700)]


def a_page(number: int) -> bytes:
    """A record of one page; some are longer than what a decompressor gives at a time."""
    text = " ".join(words_of_page(number))
    return response(f"<html><body><main><p>{text}</p></main></body></html>".encode()).replace(
        b"example/rain", b"example/%d" % number
    )


def number_of(document) -> int:
    return int(document.meta["url"].rpartition("/")[2])


PAGE_DAMAGES = {
    "bytes taken out": lambda page, at: page[: len(page) - 40 - at] + page[len(page) - 40 :],
    "bytes put in": lambda page, at: page[:-40] + b"x" * at + page[-40:],
    "first line garbled": lambda page, at: b"\x00ARC/1.0" + page[8:],
    "kind garbled": lambda page, at: page.replace(b"WARC-Type: resp", b"WARC-Type: re p"),
    "length garbled": lambda page, at: page.replace(b"Content-Length: ", b"Content-Length: \xff", 1),
    "length too large": lambda page, at: page.replace(b"Content-Length: ", b"Content-Length: 9" + b"0" * (at % 12), 1),
    "header without end": lambda page, at: page[: page.index(b"\r\n\r\n") - 3],
}
DAMAGE = st.tuples(st.sampled_from(sorted(PAGE_DAMAGES)), st.integers(5, 60))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages=st.lists(st.none() | DAMAGE, min_size=1, max_size=8))
@example(damages=[None, ("length too large", 60), ("length too large", 13), None, None])
@example(damages=[("first line garbled", 5), None])
def test_a_damaged_record_costs_that_record_and_its_bytes_are_counted(read, damages):
    """Up to four bytes that are missing may pass for the empty lines behind a record."""
    pages = [a_page(number) for number in range(len(damages))]
    damaged = {number for number, damage in enumerate(damages) if damage}
    for number in damaged:
        name, at = damages[number]
        pages[number] = PAGE_DAMAGES[name](pages[number], at)
    documents, drops = read("a.warc", b"".join(pages), kind="web")
    whole = [number for number in range(len(pages)) if number not in damaged]
    if not whole:  # nothing says that it is a crawl
        assert not documents
        return
    assert [number_of(document) for document in documents] == whole
    assert {drop.reason for drop in drops} <= {"damaged_warc"}
    assert sum(drop.num_documents for drop in drops) >= bool(damaged)
    lost = sum(len(pages[number]) for number in damaged)
    assert lost - 12 * len(damaged) <= sum(drop.num_bytes for drop in drops) <= lost, (lost, drops)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    num_pages=st.integers(1, 8),
    flips=st.lists(st.tuples(st.integers(0, 7), st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4),
)
@example(num_pages=3, flips=[(0, 0.0, 1)])
@example(num_pages=3, flips=[(1, 0.9999, 1), (0, 0.9999, 1)])
def test_a_damaged_member_of_gzip_costs_its_record(read, num_pages, flips):
    """A flipped bit is found by the checksum at the latest; some bytes of a head say nothing that counts."""
    members = [bytearray(gzip.compress(a_page(number), mtime=0)) for number in range(num_pages)]
    touched = {number % num_pages for number, *_ in flips}
    for number, share, mask in flips:
        member = members[number % num_pages]
        member[int(share * len(member))] ^= mask
    documents, drops = read("a.warc.gz", b"".join(members), kind="web")
    texts = {number_of(document): document.text for document in documents}
    assert set(range(num_pages)) - touched <= set(texts)
    assert all(text.split() == words_of_page(number) for number, text in texts.items())
    lost = sum(len(members[number]) for number in touched if number not in texts)
    assert sum(drop.num_bytes for drop in drops) == lost, (lost, drops)
