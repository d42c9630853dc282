"""XML: MediaWiki dumps and articles."""

from __future__ import annotations

import bz2
import gzip
import time

import pytest

from headwater.corpus.read.wikitext import is_redirect, plain_text

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="en"><siteinfo><sitename>A Wiki</sitename>
<base>https://wiki.example/wiki/Main_Page</base></siteinfo>"""


def page(title: str, text: str, more: str = "<ns>0</ns>") -> str:
    return (
        f"<page><title>{title}</title>{more}<revision><timestamp>2024-05-06T01:02:03Z</timestamp>"
        f"<text>{text}</text></revision></page>\n"
    )


DUMP = (
    HEAD
    + page("River Thames", "The '''Thames''' is a [[river]].")
    + page("Thames", "#REDIRECT [[River Thames]]", '<ns>0</ns><redirect title="River Thames"/>')
    + page("Talk:Thames", "Is it?", "<ns>1</ns>")
    + page("Isis", "Its name at [[Oxford|the old town]].")
    + "</mediawiki>"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.xml", DUMP.encode()), ("a.xml.bz2", bz2.compress(DUMP.encode())), ("a.xml.gz", gzip.compress(DUMP.encode()))],
)
def test_the_articles_of_a_dump_are_documents_and_the_rest_is_dropped_with_reasons(read, name, content):
    documents, drops = read(name, content, kind="articles")
    assert [document.text for document in documents] == [
        "River Thames\n\nThe Thames is a river.",
        "Isis\n\nIts name at the old town.",
    ]
    assert [(drop.reason, drop.num_bytes) for drop in drops] == [("redirect", 26), ("not_an_article", 6)]
    assert documents[0].meta == {
        "title": "River Thames",
        "date": "2024-05-06",
        "site": "A Wiki",
        "language": "en",
        "url": "https://wiki.example/wiki/River_Thames",
    }


def test_a_dump_cut_short_gives_the_pages_before(read):
    documents, drops = read("a.xml", DUMP[:-10].encode())
    assert len(documents) == 2
    assert [drop.reason for drop in drops][-1] == "damaged_xml"


@pytest.mark.parametrize("max_file_bytes", [1000, 3_000_000])
def test_a_last_page_without_an_end_is_no_silent_loss(read, max_file_bytes):
    content = DUMP + page("Lost", "word " * 300_000).replace("</page>", "</page >") + "</mediawiki>"
    documents, drops = read("a.xml", content.replace("</mediawiki>", "", 1).encode(), max_file_bytes=max_file_bytes)
    assert len(documents) == 2
    assert [drop.reason for drop in drops] == ["redirect", "not_an_article", "damaged_xml"]


def test_a_page_that_is_no_xml_or_too_large_costs_itself(read):
    content = DUMP.replace("Is it?", "Is <b>it?").replace("Its name", f"{'w' * 3_000_000} Its name")
    documents, drops = read("a.xml", content.encode(), kind="articles", max_file_bytes=1_500_000)
    assert [document.text for document in documents] == ["River Thames\n\nThe Thames is a river."]
    assert [(drop.reason, drop.id[-2:]) for drop in drops] == [
        ("redirect", "#1"),
        ("damaged_xml", "#2"),
        ("file_too_large", "#3"),
    ]
    assert drops[-1].num_bytes > 3_000_000


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("'''A''' ''b'' '''''c'''''", "A b c"),
        ("x{{a|{{b|[[c]]}}|d}}y", "xy"),
        ("x{|\n! a\n|-\n| {{b}} ||c\n|}y", "xy"),
        ("a [[b c|d]] [[e]]s [[:Category:f]]", "a d es Category:f"),
        ("[[File:a.jpg|thumb|The [[b]] of c]]d[[Category:e]]", "d"),
        ("a<ref name=x>b {{c}}</ref>d<ref name=x />e", "ade"),
        ("a<!-- b -->c<br/>d", "acd"),
        (r"of <math>\pi r^2</math> and <math>\frac{{a}}{b}</math>", r"of $\pi r^2$ and $\frac{{a}}{b}$"),
        (r"that <math>f''(x) = \sqrt{|x|}</math> says", r"that $f''(x) = \sqrt{|x|}$ says"),
        ("{{nowrap|<math>|a| = b</math>}} here", "$|a| = b$ here"),
        ("a {{nowrap|word|}} here", "a word here"),
        ("{{Infobox|name={{small|x|}}\n|b=2}} prose", "prose"),
        ("{{Infobox|\n{|\n| cell\n|}}} prose", "prose"),
        ("{{convert|140|km|mi|0}} and {{cvt|3|to|4|ft|m}} and {{convert|5|mi}}", "140 km and 3 to 4 ft and 5 mi"),
        ("{{lang|de|Donau}} ({{lang-la|Danubius}}), {{nowrap|2,000 people}}", "Donau (Danubius), 2,000 people"),
        ("{{formatnum:126329}}, {{US$|5 million}}, {{frac|1|2}}", "126329, $5 million, 1/2"),
        ("as {{lang|fr|{{smallcaps|[[Loire|la Loire]]}}}} is", "as la Loire is"),
        ("1{{ndash}}2 {{circa|1850}}", "1–2 c. 1850"),
        ("a{{sfn|Smith|2000|p=5}} b{{efn|note}} {{citation needed|date=May 2020}}{{Infobox x|name=y}}c", "a b c"),
        ("== A ==\nb\n=== C ===\nd", "A\n\nb\n\nC\n\nd"),
        ("a\n\n== References ==\n{{reflist}}\n=== Notes on it ===\nx\n== B ==\nc", "a\n\nB\n\nc"),
        ("* a\n** b\n# c\n: d", "- a\n  - b\n- c\nd"),
        ("a [http://x.org b c] [https://y.org] d", "a b c d"),
        ("it (; ) is&nbsp;so&amp;so", "it is so&so".replace("is so", "is\u00a0so")),
        ("a {{b c", "a b c"),
        ("a }} b ]] c", "a b c"),
        ("an {{b|[[c}} end", "an end"),
    ],
)
def test_markup_becomes_the_words_that_it_shows(marked, plain):
    assert plain_text(marked) == plain


ARTICLE = """<?xml version="1.0"?><!DOCTYPE article PUBLIC "-//NLM//DTD JATS//EN" "jats.dtd">
<article xmlns:xlink="http://www.w3.org/1999/xlink" xml:lang="en"><front><journal-meta><journal-title>J</journal-title>
</journal-meta><article-meta><title-group><article-title>On <italic>rivers</italic> &amp; lakes</article-title></title-group>
<contrib-group><contrib><name><surname>Doe</surname><given-names>Jane</given-names></name></contrib></contrib-group>
<pub-date><day>3</day><month>4</month><year>2020</year></pub-date>
<permissions><license xlink:href="https://creativecommons.org/licenses/by/4.0/"><license-p>Free</license-p></license></permissions>
<abstract><p>We look&nbsp;at rivers.</p></abstract></article-meta></front><body><sec><label>1</label><title>First</title>
<p>Rivers flow <xref rid="b1">[1]</xref>, and
a &lt; b.</p><list list-type="bullet"><list-item><p>one</p></list-item><list-item><p>two</p></list-item></list>
</sec></body><back><ref-list><ref><mixed-citation><article-title>X</article-title></mixed-citation></ref></ref-list></back>
</article>"""


@pytest.mark.parametrize("line", ["=" * 100_000 + "x", "=" + " " * 100_000 + "x", "= " * 50_000 + "x"])
def test_a_line_made_to_look_like_a_heading_takes_no_longer_than_others(line):
    started_at = time.process_time()
    plain_text(line)
    is_redirect("#REDIRECT" + " " * 100_000 + "x")
    seconds = time.process_time() - started_at
    assert seconds < 2, f"{seconds:.1f} s for {len(line):,} characters"


def test_an_article_is_its_title_abstract_and_sections(read):
    (document,), _ = read("a.xml", ARTICLE.encode(), kind="articles")
    assert document.text == (
        "On rivers & lakes\n\nWe look at rivers.\n\nFirst\n\nRivers flow [1], and a < b.\n\n- one\n- two"
    )
    assert document.meta == {
        "title": "On rivers & lakes",
        "author": "Jane Doe",
        "date": "2020-04-03",
        "licence": "CC-BY-4.0",
        "language": "en",
    }


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        (
            "<license><license-p>Licensed under a Creative Commons Attribution 4.0 International licence.</license-p></license>",
            "CC-BY-4.0",
        ),
        ("<license><license-p>All rights reserved</license-p></license>", "All rights reserved"),
        ("<copyright-year>2020</copyright-year>", None),
        (
            '<license xlink:href="https://example.org/terms"><license-p>Read them</license-p></license>',
            "https://example.org/terms",
        ),
        (
            '<license><license-p>Free, see <ext-link xlink:href="https://creativecommons.org/licenses/by/4.0/">here</ext-link></license-p></license>',
            "CC-BY-4.0",
        ),
        (
            '<license xlink:href="https://creativecommons.org/licenses/by-nc/4.0/"/>'
            '<license xlink:href="https://creativecommons.org/publicdomain/zero/1.0/"/>',
            "CC-BY-NC-4.0 AND CC0-1.0",
        ),
    ],
)
def test_a_licence_is_its_address_and_else_what_its_words_say(read, said, licence):
    start, end = ARTICLE.index("<license "), ARTICLE.index("</permissions>")
    (document,), _ = read("a.xml", (ARTICLE[:start] + said + ARTICLE[end:]).encode(), kind="articles")
    assert document.meta.get("licence") == licence


def test_docbook_is_read_too(read):
    book = (
        "<chapter><title>Streams</title><para>They are <emphasis>small</emphasis>; see <code>x</code>.</para>"
        "<programlisting>if a:\n    b</programlisting></chapter>"
    )
    (document,), _ = read("a.xml", book.encode())
    assert document.text == "Streams\n\nThey are small; see x.\n\nif a:\n    b"


BOMB = '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><a><p>&b;</p></a>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"words", "not_xml"),
        (b"<a><b>", "damaged_xml"),
        (b"<feed><entry>x</entry></feed>", "no_text"),
        (BOMB.encode(), "declares_entities"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><p>&x;</p></a>', "declares_entities"),
        (b"<p>" * 1000, "too_deep"),
        (b"<mediawiki><page>" + BOMB.encode(), "damaged_xml"),
    ],
)
def test_what_is_no_article_is_dropped_with_a_reason(read, content, reason):
    documents, drops = read("a.xml", content)
    assert (documents, [drop.reason for drop in drops]) == ([], [reason])


def test_a_link_in_the_text_of_an_article_is_not_its_licence(read):
    link = (
        '<p>See <ext-link xlink:href="https://creativecommons.org/licenses/by/4.0/">CC BY</ext-link>.</p></sec></body>'
    )
    start, end = ARTICLE.index("<permissions>"), ARTICLE.index("<abstract>")
    page = (ARTICLE[:start] + ARTICLE[end:]).replace("</sec></body>", link)
    (document,), _ = read("a.xml", page.encode(), kind="articles")
    assert "licence" not in document.meta
