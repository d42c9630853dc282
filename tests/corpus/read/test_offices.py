"""Offices' files that are damaged or made to do harm (what is read of whole ones: tests/golden/read/offices.toml)."""

from __future__ import annotations

import pytest
from made_documents import odt_of, office, slides, word, word_p
from made_files import zipped

META = {"title": "Of Rain", "author": "A. Author", "date": "2021-03-04", "language": "en"}


def style(name: str, means: str, more: str = "") -> str:
    return f'<w:style w:styleId="{name}"><w:name w:val="{means}"/>{more}</w:style>'


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
