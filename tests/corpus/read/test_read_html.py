from __future__ import annotations

import pytest

from headwater.corpus.read.html import MAX_DEPTH, depth

PAGE = """<!doctype html><html><head><title>A page  about
rivers</title><script>if (a<b) alert("<div>")</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<main><h1>Rivers</h1><p>A river begins at its <em>headwater</em>, often a <a href="/spring">spring</a>, and flows
downhill until it reaches a lake or the sea.</p>
<ul><li>The Nile is long.</li><li>The Amazon is <b>wide</b>.</li></ul>
<pre><code>def flow(metres):
    return metres * 2
</code></pre><p>Caf&eacute;s stand on its banks.</p></main>
<footer>Copyright 2026, all rights reserved</footer></body></html>"""


def text_of(read, page: str | bytes) -> str:
    (document,), drops = read("a.html", page.encode() if isinstance(page, str) else page)
    assert not drops
    return document.text


def test_main_content_is_kept_and_the_rest_left_behind(read):
    text = text_of(read, PAGE)
    for kept in ("A river begins at its headwater, often a spring", "Cafés stand", "def flow(metres):\n    return"):
        assert kept in text, text
    for left in ("alert", "About us", "Copyright", "<"):
        assert left not in text, text


def test_lists_are_content_and_menus_are_not(read):
    # resiliparse 2.0 by itself takes every <ul> for a menu
    assert "- The Nile is long.\n- The Amazon is wide." in text_of(read, PAGE)


def test_nested_lists_are_kept_in_order(read):
    text = text_of(read, "<p>Before.</p><ul><li>one<ul><li>two</li></ul></li><li><p>three</p></li></ul><p>After.</p>")
    assert [word for word in text.split() if word != "-"] == ["Before.", "one", "two", "three", "After."]


def test_the_title_comes_first_and_into_the_metadata(read):
    (document,), _ = read("a.html", PAGE.encode())
    assert document.text.startswith("A page about rivers\n\n")
    assert document.meta == {"title": "A page about rivers"}


def test_a_title_that_the_text_repeats_is_not_doubled(read):
    assert text_of(read, "<title>Rivers</title><h1>Rivers</h1><p>They flow.</p>").count("Rivers") == 1


def test_a_page_declares_its_own_charset(read):
    page = '<html><head><meta charset="iso-8859-1"></head><body><p>Grüße aus Köln</p></body></html>'
    assert "Grüße aus Köln" in text_of(read, page.encode("latin-1"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"plain words without a single element", "not_html"),
        (b"{}", "not_html"),
        ("<p>Grüße</p>".encode("latin-1"), "not_utf8"),
        (b'<meta charset="utf-8"><p>\xff</p>', "not_utf8"),
        (b'<meta charset="no-such"><p>\xff</p>', "not_utf8"),
        (b"<p>\0</p>", "binary"),
        (b"<div>" * 100_000, "too_deep"),
        (b"<ul><li>" * 50_000, "too_deep"),
        (b"<p>word " * 1000, "file_too_large"),
    ],
)
def test_what_is_no_page_is_dropped_with_a_reason(read, content, reason):
    limits = {"max_file_bytes": 2000} if reason == "file_too_large" else {}
    documents, drops = read("a.html", content, **limits)
    assert (documents, [drop.reason for drop in drops]) == ([], [reason])


def test_a_page_without_text_is_a_document_that_the_filter_sees(read):
    assert text_of(read, "<html><body></body></html>") == ""


def test_depth_counts_open_elements_only():
    assert depth("<div><p>a<p>b<br><img/></div><div></div>") == 1
    assert depth("<div>" * 7 + "</div>" * 7 + "<div>") == 7
    assert depth("<script>" + "<div>" * MAX_DEPTH * 2 + "</script><b>x</b>") == 1
    assert depth("<!-- <div><div><div> --><i>x</i>") == 1


def test_a_processing_instruction_named_like_an_item_is_none(read):
    # found by a fuzzer
    text = text_of(read, "<p>Before.</p><ul><?li><li>one</li><?ul></ul><p>After.</p>")
    assert [word for word in text.split() if word != "-"] == ["Before.", "one", "After."]
