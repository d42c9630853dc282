"""DOCX, PPTX and ODT made by hand; what is expected is what the office would show, written down by a person."""

from __future__ import annotations

import pytest
from made_documents import CORE, SPACES, odt_of, office, relations, slide, slide_p, slides, word, word_p
from made_files import zipped

PROPERTIES = (
    f"<x {SPACES}><dc:title>Of Rain</dc:title><dc:creator>B. Editor</dc:creator><dc:language>en-GB</dc:language>"
    "<meta:creation-date>2021-03-04T05:06:07</meta:creation-date><meta:initial-creator>A. Author</meta:initial-creator></x>"
)
META = {"title": "Of Rain", "author": "A. Author", "date": "2021-03-04", "language": "en"}
EXPECTED = """Rain

It falls & it runs
to the sea.

- hills
  1. north
  2. south
- plains

Month | Rain
May | 40 mm

Snow

Behind the table.

A note on rain."""


def style(name: str, means: str, more: str = "") -> str:
    return f'<w:style w:styleId="{name}"><w:name w:val="{means}"/>{more}</w:style>'


STYLES = f"""<w:styles xmlns:w="w">{style("berschrift1", "heading 1")}{style("Kapitel", "Kapitel", '<w:basedOn w:val="berschrift1"/>')}
{style("Liste", "Liste", '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr>')}{style("V1", "toc 1")}</w:styles>"""
LEVELS = '<w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl><w:lvl w:ilvl="1"><w:numFmt w:val="decimal"/></w:lvl>'
NUMBERING = f"""<w:numbering xmlns:w="w"><w:abstractNum w:abstractNumId="7">{LEVELS}</w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num></w:numbering>"""


def item(text: str, level: int, number: int = 1) -> str:
    return word_p(text, f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


def row(*cells: str) -> str:
    return f"<w:tr>{''.join(f'<w:tc>{word_p(cell)}</w:tc>' for cell in cells)}</w:tr>"


WORD = word(
    word_p("Contents 1", '<w:pStyle w:val="V1"/>'),
    word_p("Rain", '<w:pStyle w:val="berschrift1"/>'),
    "<w:p><w:r><w:t>It falls &amp; it </w:t></w:r><w:ins><w:r><w:t>runs</w:t></w:r></w:ins><w:del><w:r><w:delText>stands</w:delText>"
    "</w:r></w:del><w:r><w:br/><w:t>to the sea.</w:t><w:footnoteReference w:id='2'/></w:r></w:p>",
    word_p("hills", '<w:pStyle w:val="Liste"/>'), item("north", 1), item("south", 1), item("plains", 0),
    "<w:p/>",
    f"<w:tbl>{row('Month', 'Rain')}{row('May', '40 mm')}</w:tbl>",
    word_p("Snow", '<w:pStyle w:val="Kapitel"/>'),
    "<mc:AlternateContent><mc:Choice>" + item("Behind the table.", 0, 0) + "</mc:Choice><mc:Fallback>"
    + word_p("Behind the table.") + "</mc:Fallback></mc:AlternateContent>",
)  # fmt: skip
DOCX = office(
    "word/document.xml",
    **{
        "word/document.xml": WORD,
        "word/_rels/document.xml.rels": relations(
            ("styles", "styles.xml"), ("numbering", "/word/numbering.xml"), ("footnotes", "notes.xml")
        ),
        **{"word/styles.xml": STYLES, "word/numbering.xml": NUMBERING, CORE: PROPERTIES},
        "word/notes.xml": f'<w:footnotes xmlns:w="w"><w:footnote>{word_p("A note on rain.")}</w:footnote></w:footnotes>',
        "word/header1.xml": word(word_p("A running head")),
    },
)
ODT = odt_of(
    '<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes><text:table-of-content><text:p>Contents 1</text:p></text:table-of-content>'
    '<text:h text:outline-level="1">Rain</text:h><text:p>It<text:s/>falls &amp; <text:span>it runs</text:span><text:line-break/>to the sea.<text:note>'
    "<text:note-citation>1</text:note-citation><text:note-body><text:p>A note on rain.</text:p></text:note-body></text:note></text:p>"
    '<text:list text:style-name="L1"><text:list-item><text:p>hills</text:p><text:list><text:list-item><text:p>north</text:p></text:list-item>'
    "<text:list-item><text:p>south</text:p></text:list-item></text:list></text:list-item><text:list-item><text:p>plains</text:p></text:list-item></text:list>"
    "<table:table><table:table-row><table:table-cell><text:p>Month</text:p></table:table-cell><table:table-cell><text:p>Rain</text:p></table:table-cell>"
    "</table:table-row><table:table-row><table:table-cell><text:p>May</text:p></table:table-cell><table:table-cell><text:p>40 mm</text:p></table:table-cell>"
    "</table:table-row></table:table><text:h>Snow</text:h><text:p>Behind the table.<office:annotation><text:p>no!</text:p></office:annotation></text:p>",
    '<text:list-style style:name="L1"><text:list-level-style-bullet text:level="1"/><text:list-level-style-number text:level="2"/></text:list-style>',
    **{"meta.xml": PROPERTIES, "styles.xml": f"<x {SPACES}><text:p>A running head</text:p></x>"},
)  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [("a.docx", DOCX), ("a.odt", ODT)])
def test_headings_lists_tables_and_notes_are_read_in_their_order_and_what_was_deleted_is_not(read, name, content):
    (document,), drops = read(name, content)
    assert (document.text, document.meta, drops) == (EXPECTED, META, [])


def test_slides_are_read_in_the_order_of_the_show_each_with_its_notes(read):
    table = f"<p:graphicFrame><a:tbl><a:tr><a:tc>{slide_p('May')}</a:tc><a:tc>{slide_p('40 mm')}</a:tc></a:tr></a:tbl></p:graphicFrame>"
    first = slide(
        ('type="title"', [slide_p("Rain")]),
        ('idx="1"', [slide_p("hills"), slide_p("north", 1)]),
        ('type="sldNum"', [slide_p("1")]),
    )
    second = slide(('type="ctrTitle"', [slide_p("Snow")])).replace("</p:sld>", f"{table}</p:sld>")
    notes = slide(('type="body"', [slide_p("Speak slowly.")]), ('type="hdr"', [slide_p("A running head")]))
    more = {
        "ppt/slides/_rels/slide2.xml.rels": relations(("notesSlide", "../notes/n.xml")),
        "ppt/notes/n.xml": notes,
        CORE: PROPERTIES,
    }
    (document,), _ = read("a.pptx", slides([first, second], more))
    assert document.text == "Rain\n\n- hills\n  - north\n\nSpeak slowly.\n\nSnow\nMay | 40 mm"
    assert document.meta == META


BOMB = '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'
DEEP = "<w:tbl><w:tr><w:tc>" * 200
OLD = b"\xd0\xcf\x11\xe0" + bytes(600)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        *((f"a.{form}", b"words", f"not_{form}") for form in ("docx", "pptx", "odt")),
        *((f"a.{form}", OLD, "encrypted") for form in ("docx", "pptx", "odt")),
        *((f"a.{form}", zipped({"a": "b"}), f"damaged_{form}") for form in ("docx", "pptx", "odt")),
        *((f"a.{form}", zipped({"a": "b"})[:-20], f"damaged_{form}") for form in ("docx", "odt")),
        ("a.docx", office("d.xml", **{"d.xml": BOMB + word(word_p("&b;"))}), "declares_entities"),
        ("a.docx", office("d.xml", **{"d.xml": word(DEEP)}), "too_deep"),
        ("a.docx", office("d.xml", **{"d.xml": word("<w:p>")}), "damaged_xml"),
        ("a.docx", office("d.xml", **{"d.xml": word("<w:p/>")}), "no_text"),
        ("a.docx", office("d.xml", **{"d.xml": word(word_p(" " * 30_000_000))}), "expands_too_far"),
        ("a.pptx", slides([]), "no_text"),
        ("a.odt", odt_of("<text:p>x</text:p>", **{"META-INF/manifest.xml": "<manifest:encryption-data/>"}), "encrypted"),
    ],
)  # fmt: skip
def test_what_is_damaged_or_made_to_do_harm_is_one_drop(read, name, content, reason):
    documents, (drop,) = read(name, content)
    assert (documents, drop.reason, drop.num_bytes) == ([], reason, len(content))
