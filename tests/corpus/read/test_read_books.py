"""Books: EPUB and PDF."""

from __future__ import annotations

import io
import zipfile

import pytest

CONTAINER = '<container><rootfiles><rootfile full-path="OPS/book.opf" media-type="x"/></rootfiles></container>'
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>The River</dc:title><dc:creator>A. Author</dc:creator><dc:language>en-GB</dc:language>
<dc:date>1911-02-03T00:00:00</dc:date><dc:rights>https://creativecommons.org/publicdomain/zero/1.0/</dc:rights></metadata>
<manifest><item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="text/one%20a.xhtml" media-type="application/xhtml+xml"/>
<item id="c" href="cover.jpg" media-type="image/jpeg"/><item id="m" href="gone.xhtml" media-type="application/xhtml+xml"/>
</manifest><spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/><itemref idref="m"/><itemref idref="a"/></spine>
</package>"""
ONE = """<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x"/></head>
<body><a id="top"/><h1>First</h1><p>It begins
here.</p><p>And <i>goes</i> on.</p></body></html>"""


def epub(package: str = PACKAGE, **more: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr("META-INF/container.xml", CONTAINER)
        book.writestr("OPS/book.opf", package)
        book.writestr("OPS/nav.xhtml", "<html><body><p>Contents</p></body></html>")
        book.writestr("OPS/text/one a.xhtml", ONE)
        book.writestr("OPS/text/two.xhtml", "<html><body><h1>Second</h1><p>It ends.</p></body></html>")
    return data.getvalue()


def test_a_book_is_read_chapter_by_chapter_in_the_order_of_its_spine(read):
    documents, drops = read("a.epub", epub(), kind="books")
    assert [document.text for document in documents] == [
        "First\n\nIt begins here.\n\nAnd goes on.",
        "Second\n\nIt ends.",
    ]
    assert [drop.reason for drop in drops] == ["missing_in_archive"]


def test_items_that_name_places_in_a_page_are_that_page_once(read):
    item = '<item id="{}" href="text/two.xhtml#o{}" media-type="application/xhtml+xml"/>'
    page = '<item id="b" href="text/two.xhtml" media-type="application/xhtml+xml"/>'
    places = "".join(item.format(f"b{number}", number) for number in (8, 9))
    refs = '<itemref idref="b8"/><itemref idref="b9"/>'
    beside = PACKAGE.replace(page, page + places).replace('<itemref idref="b"/>', refs + '<itemref idref="b"/>')
    instead = PACKAGE.replace(page, places).replace('<itemref idref="b"/>', refs)
    whole = read("a.epub", epub(), kind="books")
    assert read("a.epub", epub(beside), kind="books") == whole
    assert read("a.epub", epub(instead), kind="books") == whole, "a chapter known by its places alone is lost"


def test_a_place_in_the_table_of_contents_is_no_chapter(read):
    place = '<item id="n2" href="nav.xhtml#x" media-type="application/xhtml+xml"/></manifest>'
    package = PACKAGE.replace("</manifest>", place).replace("<spine>", '<spine><itemref idref="n2"/>')
    assert read("a.epub", epub(package), kind="books") == read("a.epub", epub(), kind="books")


def test_chapters_carry_what_the_book_says_of_itself(read):
    documents, _ = read("a.epub", epub(), kind="books")
    assert documents[0].meta == {
        "title": "The River — First",
        "author": "A. Author",
        "language": "en",
        "date": "1911-02-03",
        "licence": "CC0-1.0",
        "group": documents[0].origin,
    }


@pytest.mark.parametrize(
    ("rights", "licence"),
    [
        (["CC BY 4.0"], "CC-BY-4.0"),
        (["Public domain in the USA."], "LicenseRef-public-domain"),
        (["Copyright 1911 A. Author", "CC-BY-SA 3.0"], "CC-BY-SA-3.0"),
        (["All rights reserved"], "All rights reserved"),
        (["All rights reserved", "CC BY 4.0"], "All rights reserved"),
        (["https://example.org/our-terms", "MIT"], "https://example.org/our-terms"),
        (["Copyright 1911 A. Author"], "Copyright 1911 A. Author"),
        ([], None),
    ],
)
def test_what_a_book_says_of_its_rights_is_understood_or_handed_on_as_it_is(read, rights, licence):
    said = "".join(f"<dc:rights>{each}</dc:rights>" for each in rights)
    package = PACKAGE.replace("<dc:rights>https://creativecommons.org/publicdomain/zero/1.0/</dc:rights>", said)
    documents, _ = read("a.epub", epub(package), kind="books")
    assert documents[0].meta.get("licence") == licence


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"words", "not_epub"),
        (epub()[:-400], "damaged_epub"),
        (epub()[:4] + b"\0" * 2000, "damaged_epub"),
    ],
)
def test_what_is_no_book_is_dropped_with_a_reason(read, content, reason):
    documents, drops = read("a.epub", content)
    assert (documents, [drop.reason for drop in drops]) == ([], [reason])


# ---- PDF


def pdf(pages: list[list[tuple[int, int, str]]], info: str = "") -> bytes:
    """Return a PDF whose pages hold texts at places, in a letter 10 points high."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>"]
    kids = []
    for page in pages:
        shown = "\n".join(f"1 0 0 1 {x} {y} Tm ({text}) Tj" for x, y, text in page)
        stream = f"BT /F1 10 Tf\n{shown}\nET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        content = len(objects)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    objects.append(f"<< {info} >>")
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n" + "".join(f"{at:010d} 00000 n \n" for at in places)
    trailer = (
        f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{len(data)}\n%%EOF"
    )
    return data + (table + trailer).encode()


def page(number: int, lines: list[str], gap_after: tuple[int, ...] = ()) -> list[tuple[int, int, str]]:
    placed = [(72, 800, "A Book of Rivers"), (290, 40, str(number))]
    y = 760
    for at, line in enumerate(lines):
        placed.append((72, y, line))
        y -= 24 if at in gap_after else 12
    return placed


LINES = [
    "A river begins where water leaves the ground, and it does not",
    "end before the sea. On its way it takes in others that are as",
    "long as itself.",
    "The second paragraph begins here and is long enough to reach",
    "over the end of a line, where a word is bro-",
    "ken in two. Elsewhere it is not broken but well-",
    "known, as well-known words are.",
]


def test_lines_become_paragraphs_and_hyphens_are_undone_where_the_text_shows_that_they_should(read):
    (document,), _ = read("a.pdf", pdf([page(1, LINES, gap_after=(2,))]))
    assert document.text.split("\n\n")[1:] == [
        " ".join(LINES[:3]),
        "The second paragraph begins here and is long enough to reach over the end of a line, where a word is broken in "
        "two. Elsewhere it is not broken but well-known, as well-known words are.",
    ]


def test_running_heads_and_page_numbers_stay_behind_and_sentences_run_over_pages(read):
    names = ["Thames", "Severn", "Trent", "Mersey", "Tyne"]
    pages = [
        page(number, [f"The {name} is one of the rivers of England, and a page about", f"the {name} may end before it"])
        for number, name in enumerate(names, start=1)
    ]
    pages[3] = page(4, ["is told.", *LINES])
    (document,), _ = read("a.pdf", pdf(pages))
    assert "A Book of Rivers" not in document.text
    assert not any(line.strip().isdigit() for line in document.text.split("\n"))
    assert "the Trent may end before it is told." in document.text


def test_a_pdf_gives_metadata(read):
    (document,), _ = read(
        "a.pdf", pdf([page(1, LINES)], "/Title (Rivers) /Author (A. Author) /CreationDate (D:20200304)")
    )
    assert document.meta == {"title": "Rivers", "author": "A. Author", "date": "2020-03-04"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"words", "not_pdf"), (b"%PDF-1.4\nnothing", "damaged_pdf"), (pdf([[]]), "no_text")],
)
def test_what_is_no_pdf_is_dropped_with_a_reason(read, content, reason):
    documents, drops = read("a.pdf", content)
    assert (documents, [drop.reason for drop in drops]) == ([], [reason])
