"""Books: EPUB and PDF."""

from __future__ import annotations

import pytest
from golden_rows import rows
from made_documents import pdf_of_places
from made_files import zipped

RIGHTS = "<dc:rights>https://creativecommons.org/publicdomain/zero/1.0/</dc:rights>"
PACKAGE = f"""<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>The River</dc:title><dc:creator>A. Author</dc:creator><dc:language>en-GB</dc:language>
<dc:date>1911-02-03T00:00:00</dc:date>{RIGHTS}</metadata>
<manifest><item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/one%20a.xhtml" media-type="application/xhtml+xml"/>
<item id="c" href="cover.jpg" media-type="image/jpeg"/><item id="m" href="gone.xhtml" media-type="application/xhtml+xml"/>
</manifest><spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/><itemref idref="m"/><itemref idref="a"/></spine>
</package>"""
MEMBERS = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
    "OPS/nav.xhtml": "<html><body><p>Contents</p></body></html>",
    "OPS/text/one a.xhtml": '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x"/>'
    '</head><body><a id="top"/><h1>First</h1><p>It begins\nhere.</p><p>And <i>goes</i> on.</p></body></html>',
    "OPS/text/two.xhtml": "<html><body><h1>Second</h1><p>It ends.</p></body></html>",
}


def epub(package: str = PACKAGE) -> bytes:
    return zipped({**MEMBERS, "OPS/book.opf": package})


EPUB = epub()


def test_a_book_is_read_chapter_by_chapter_in_the_order_of_its_spine(read):
    documents, drops = read("a.epub", EPUB, kind="books")
    assert [each.text for each in documents] == ["First\n\nIt begins here.\n\nAnd goes on.", "Second\n\nIt ends."]
    assert [drop.reason for drop in drops] == ["missing_in_archive"]
    assert documents[0].meta == {
        **{"title": "The River — First", "author": "A. Author", "language": "en", "date": "1911-02-03"},
        **{"licence": "CC0-1.0", "group": documents[0].origin},
    }


def test_items_that_name_places_in_a_page_are_that_page_once(read):
    page = '<item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/>'
    places = "".join(page.replace('"b"', f'"b{n}"').replace("two.xhtml", f"two.xhtml#o{n}") for n in (8, 9))
    refs = '<itemref idref="b8"/><itemref idref="b9"/>'
    contents = page.replace('"b"', '"n2"').replace("text/two.xhtml", "nav.xhtml#x")
    whole = read("a.epub", EPUB, kind="books")
    for package in (
        PACKAGE.replace(page, page + places).replace('<itemref idref="b"/>', refs + '<itemref idref="b"/>'),
        PACKAGE.replace(page, places).replace('<itemref idref="b"/>', refs),
        PACKAGE.replace(page, page + contents).replace("<spine>", '<spine><itemref idref="n2"/>'),
    ):
        assert read("a.epub", epub(package), kind="books") == whole


@pytest.mark.parametrize(("rights", "licence"), rows("rights"))
def test_what_a_book_says_of_its_rights_is_understood_or_handed_on_as_it_is(read, rights, licence):
    package = PACKAGE.replace(RIGHTS, "".join(f"<dc:rights>{each}</dc:rights>" for each in rights))
    assert read("a.epub", epub(package), kind="books")[0][0].meta.get("licence") == licence


# ---- PDF

LINES = [
    "A river begins where water leaves the ground, and it does not",
    "end before the sea. On its way it takes in others that are as",
    "long as itself.",
    "The second paragraph begins here and is long enough to reach",
    "over the end of a line, where a word is bro-",
    "ken in two. Elsewhere it is not broken but well-",
    "known, as well-known words are.",
]


def pdf_of(pages: list[list[str]], info: str = "", gap_after: int = -1) -> bytes:
    """Return a PDF of these lines under a running head and above a page number."""
    made = []
    for number, lines in enumerate(pages, 1):
        places = [(72, 760 - 12 * at - 12 * (0 <= gap_after < at), each) for at, each in enumerate(lines)]
        made.append([(72, 800, "A Book of Rivers"), (290, 40, str(number)), *places])
    return pdf_of_places(made, info)


def test_lines_become_paragraphs_and_hyphens_are_undone_where_the_text_shows_that_they_should(read):
    info = "/Title (Rivers) /Author (A. Author) /CreationDate (D:20200304)"
    (document,), _ = read("a.pdf", pdf_of([LINES], info, gap_after=2))
    assert document.text.split("\n\n")[1:] == [
        " ".join(LINES[:3]),
        "The second paragraph begins here and is long enough to reach over the end of a line, where a word is broken in "
        "two. Elsewhere it is not broken but well-known, as well-known words are.",
    ]
    assert document.meta == {"title": "Rivers", "author": "A. Author", "date": "2020-03-04"}


def test_running_heads_and_page_numbers_are_skipped_and_sentences_run_over_pages(read):
    names = ["Thames", "Severn", "Trent", "Mersey", "Tyne"]
    about = "The {0} is one of the rivers of England, and a page about", "the {0} may end before it"
    pages = [[line.format(name) for line in about] for name in names]
    pages[3] = ["is told.", *LINES]
    (document,), _ = read("a.pdf", pdf_of(pages))
    assert "A Book of Rivers" not in document.text
    assert not any(line.strip().isdigit() for line in document.text.split("\n"))
    assert "the Trent may end before it is told." in document.text
