from __future__ import annotations

import pytest

from headwater.corpus.read.html import page_text
from headwater.corpus.read.html_blocks import MAX_DEPTH
from headwater.corpus.read.limits import Unusable

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
        (b'<meta charset="utf-8"><p>' + b"\xff\x81\x8d" * 40 + b"</p>", "not_utf8"),
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


def test_only_elements_that_hold_others_count_as_depth():
    page_text("<p>" * 5000 + "text")
    page_text("<div>" * (MAX_DEPTH - 10) + "text")
    with pytest.raises(Unusable, match="too_deep"):
        page_text("<div>" * (MAX_DEPTH + 10) + "text")


def test_a_processing_instruction_named_like_an_item_is_none(read):
    # found by a fuzzer
    text = text_of(read, "<p>Before.</p><ul><?li><li>one</li><?ul></ul><p>After.</p>")
    assert [word for word in text.split() if word != "-"] == ["Before.", "one", "After."]


def body_text(body: str) -> str:
    return page_text(f"<html><body>{body}</body></html>")[0]


def test_code_is_kept_as_it_is_and_hard_wraps_of_prose_are_undone():
    text = body_text("<p>one\n  two\n<b>thr</b>ee</p><pre>\nif x:\n    <span>y</span>  &lt; 2\n\n  z</pre><p>four</p>")
    assert text == "one two three\n\nif x:\n    y  < 2\n\n  z\n\nfour"


def test_rows_of_a_table_are_lines_and_cells_stay_apart():
    rows = "<tr><th>Name</th><th>Size</th></tr><tr><td><p>big</p></td><td>7</td></tr>"
    assert body_text(f"<table>{rows}</table>") == "Name | Size\nbig | 7"


def test_a_table_that_lays_out_a_page_is_not_made_a_line():
    text = body_text("<table><tr><td><p>One.</p><p>Two.</p></td><td><pre>a\n b</pre></td></tr></table>")
    assert text == "One.\n\nTwo.\n\na\n b"


def test_lists_are_numbered_and_indented():
    text = body_text("<ol><li>one<ul><li>in</li></ul></li><li><p>two</p><p>more</p></li></ol>")
    assert text == "1. one\n  - in\n2. two\n\n  more"


@pytest.mark.parametrize(
    "page", ["<p <b>word</p>", "<p <>word</p>", "<p <=1>word</p>", "<p><a=b>word</a=b></p>", "<p><?x y?>word"]
)
def test_a_tag_is_one_whatever_its_attributes_are_called(page):
    assert page_text(f"<body>{page}</body>")[0] == "word"


def test_a_row_in_which_a_container_around_it_seems_to_end_stays_as_it_is():
    # up to the first </a>: a </table> stays
    cut = '<a class="headerlink"><table><caption><a>x</a></caption></table></a>'
    text = page_text(f"<body><table><tr><td>one</td><td>two {cut}</td></tr></table></body>")[0]
    assert text.split() == ["one", "two"]


def test_a_line_break_ends_a_line_and_definitions_follow_their_term():
    assert body_text("<dl><dt>term</dt><dd>first<br>second</dd></dl>") == "term\nfirst\nsecond"


SENTENCE = "Water that falls as rain on the hills finds its way into brooks, which join to become a river. "


@pytest.mark.parametrize(
    "beside",
    [
        '<div class="sidebar"><p>Beside</p></div>',
        '<div id="site-footer">Beside</div>',
        "<footer>Beside</footer>",
        '<ul><li><a href="/1">Beside one</a></li><li><a href="/2">Beside two</a></li></ul>',
        '<div role="navigation">Beside</div>',
        "<div hidden>Beside</div>",
        '<div style="display:none">Beside</div>',
        "<form><button>Beside</button></form>",
        '<!-- Beside <p> --><script>"Beside"</script><svg><text>Beside</text></svg>',
        f'<section id="comments"><p>Beside. {SENTENCE * 2}</p></section>',
    ],
)
def test_what_stands_beside_the_content_is_skipped(beside):
    text = body_text(f"{beside}<div><h1>Rain</h1><p>{SENTENCE * 3}</p><p>{SENTENCE}</p></div>{beside}")
    assert text == f"Rain\n\n{(SENTENCE * 3).strip()}\n\n{SENTENCE.strip()}"


def test_content_is_kept_whatever_its_container_is_called():
    assert SENTENCE.strip() in body_text(f'<div class="sidebar footer"><p>{SENTENCE}</p></div><p>Short.</p>')


def test_the_container_that_says_it_is_main_wins():
    other = f"<div><p>{SENTENCE}</p></div>"
    assert body_text(f"{other}<main><p>{SENTENCE * 2}</p></main>{other}") == (SENTENCE * 2).strip()


MENU = "".join(f'<li><a href="{n}">Chapter {n}</a></li>' for n in range(30))
FEW_WORDS = f"<div><ul>{MENU}</ul></div><main><h1>copy()</h1><p>Return a copy.</p></main><p>Built with a theme.</p>"


def test_of_a_page_of_few_words_those_of_its_main_container_are_kept():
    assert page_text(f"<body>{FEW_WORDS}</body>")[0] == "copy()\n\nReturn a copy."


def test_a_foot_beside_the_main_container_is_none_of_the_content_however_long():
    foot = "<footer><p>This page is under a licence whose terms it tells at length, with the names of all who hold it.</p></footer>"
    assert page_text(f"<body>{FEW_WORDS}{foot}</body>")[0] == "copy()\n\nReturn a copy."


ITEMS = "".join(f"<li>{n} grams of flour, kneaded well</li>" for n in range(20))
LITTLE = "<article><a href='x'>Other bread</a></article>"


@pytest.mark.parametrize(
    "page",
    [
        f"<h1>Bread</h1><ul>{ITEMS}</ul>{LITTLE}",
        f"{LITTLE}<h1>Bread</h1><ul>{ITEMS}</ul>",
        f"<main><h1>Bread</h1><ul>{ITEMS}</ul>{LITTLE}</main>",
        f"<h1>Bread</h1><ul>{ITEMS}</ul><div class='post-content'>Hi</div>",
    ],
)
def test_a_page_of_short_lines_is_not_given_up_for_a_teaser(page):
    assert page_text(f"<body>{page}</body>")[0].count("kneaded well") == 20


def test_an_aside_with_all_the_prose_is_kept():
    prose = f"<aside><p>{'A river begins at a spring and ends in a sea. ' * 9}</p></aside>"
    for page in (f"<main><h1>Rivers</h1></main>{prose}", f"<main>{prose}</main><main>Small</main>"):
        assert "ends in a sea" in page_text(f"<body>{page}</body>")[0]


def test_lists_of_links_with_words_of_their_own_are_content():
    items = "".join(f'<li><a href="/{n}">RFC {n}</a> says how it is done</li>' for n in range(3))
    assert "- RFC 2 says how it is done" in body_text(f"<main><p>{SENTENCE}</p><ul>{items}</ul></main>")


def test_the_head_gives_metadata(read):
    page = """<html lang="en-GB"><head><title>Rain | The Water Site</title><meta name="author" content="A. N. Author">
    <meta property="article:published_time" content="2021-03-04T05:06:07Z"><meta property="og:site_name" content="Water">
    <link rel="canonical" href="https://water.example/rain?a=1&amp;b=2"></head><body><main><h1>Rain</h1><p>It falls.</p>
    </main><footer><a rel="license" href="http://creativecommons.org/licenses/by-sa/3.0/">CC</a></footer></body></html>"""
    (document,), _ = read("a.html", page.encode())
    assert document.meta == {
        "title": "Rain",
        "language": "en",
        "author": "A. N. Author",
        "date": "2021-03-04",
        "site": "Water",
        "url": "https://water.example/rain?a=1&b=2",
        "licence": "CC-BY-SA-3.0",
    }


BY = '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>'


@pytest.mark.parametrize(
    ("head", "body", "licence"),
    [
        ('<meta name="dc.rights" content="CC BY 4.0">', "", "CC-BY-4.0"),
        ("", '<a rel="license" href="/terms">Terms</a>', "/terms"),
        (
            "",
            '<a rel="license" href="/terms">T</a> <a rel="license" href="https://opensource.org/licenses/MIT">M</a>',
            "/terms",
        ),
        ("", '<a rel="license" href="https://opensource.org/licenses/MIT">M</a>', None),
        ("", '<footer><a rel="license" href="https://opensource.org/licenses/MIT">M</a></footer>', "MIT"),
        ("", '<div class="site-footer"><a rel="license" href="https://opensource.org/licenses/MIT">M</a></div>', "MIT"),
        ("", f"<p>Except where otherwise noted, content on this site is licensed under a {BY}.</p>", "CC-BY-4.0"),
        ("", f"<figure><img src='a.jpg'><figcaption>Photo: A. Writer, {BY}</figcaption></figure>", None),
        ("", f"<footer>All rights reserved</footer><p>Photo by A. Writer, licensed under {BY}</p>", None),
        ("", f"<p>The photo above is available under {BY}.</p>", None),
        (
            '<meta name="dc.rights" content="All rights reserved">',
            '<a rel="license" href="https://creativecommons.org/licenses/by/2.0/">Photo</a>',
            "All rights reserved",
        ),
        (
            '<meta name="dc.rights" content="© 2020 A. Author">'
            '<link rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">',
            '<a rel="license" href="https://creativecommons.org/licenses/by/2.0/">Photo</a>',
            "CC-BY-SA-4.0",
        ),
        (
            '<meta name="dc.rights" content="Ask us"><link rel="license" href="https://opensource.org/licenses/MIT">',
            "",
            "Ask us",
        ),
        (
            '<meta name="dc.rights" content="CC BY-NC 4.0">'
            '<link rel="license" href="https://opensource.org/licenses/MIT">',
            "",
            "MIT AND CC-BY-NC-4.0",
        ),
        ('<meta name="dc.rights" content="CC BY 4.0"><meta name="dc.rights" content="Ask us">', "", "Ask us"),
        (f'<meta name="license" content="{"MIT AND " * 36}MIT, for {"friends " * 9}">', "", "unknown"),
        ('<meta name="copyright" content="A. Author">', "", None),
    ],
)
def test_a_page_is_under_all_that_its_head_names_and_only_else_under_what_its_body_does(read, head, body, licence):
    page = f"<html><head><title>Rain</title>{head}</head><body><main><p>It falls.</p>{body}</main></body></html>"
    (document,), _ = read("a.html", page.encode())
    assert document.meta.get("licence") == licence


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<p>f()<a class="reference" href="#"><span class="viewcode-link"><span class="pre">[source]</span></span></a></p>', "f()"),
        ('<p><a class="viewcode-back" href="#">[docs]</a>def f():</p>', "def f():"),
        ('<label class="ocn"><a href="#o1" class="lnkocn">159</a></label><p>The basics are here.</p>', "The basics are here."),
        ("<p>Words.</p><p>\uf17c/\uf179 \uf17a</p><p>\uf101 More words.</p>", "Words.\n\nMore words."),
    ],
)  # fmt: skip
def test_links_to_source_numbers_of_paragraphs_and_icons_are_no_text(read, html, text):
    (document,), _ = read("a.html", f"<html><body>{html}</body></html>".encode())
    assert document.text == text


def test_a_page_of_links_alone_is_read_without_its_navigation(read):
    links = "".join(f'<li><a href="#{number}">entry {number}</a></li>' for number in range(30))
    nav = (
        '<div id="global-nav"><a href="i">Home</a> | <a href="c">Table of contents</a> | <a href="m">Modules</a></div>'
    )
    (document,), _ = read("a.html", f"<html><body>{nav}<ul>{links}</ul></body></html>".encode())
    assert "entry 29" in document.text
    assert "Home" not in document.text


def test_marks_beside_a_text_go_and_words_with_the_same_marks_stay():
    text = body_text(
        '<h2><a class="anchor">A heading</a></h2><p>Words <span class="mark">that shine</span> here.</p>'
        '<h3>Another<a class="anchor" href="#y"><svg><path></path></svg></a></h3><p>two <span class="mark">§ 12</span></p>'
        '<h3>Third<a class="headerlink" title="Link to this">link</a></h3><p>three</p>'
    )
    assert text == "A heading\n\nWords that shine here.\n\nAnother\n\ntwo\n\nThird\n\nthree"
