"""What the heads of reStructuredText, AsciiDoc and pages say, and dates as people write them."""

from __future__ import annotations

import gzip

import pytest

from headwater.corpus.read.dates import iso_date
from headwater.corpus.read.html_metadata import head_metadata

RST = b""".. _rivers:
.. comment
   that goes on

:orphan:

========
 Rivers
========

:Author: A. N. Other <a@example.org>
:Date: 25 June 2008
:Version: 2

Words
=====

:title: not this
"""
ASCIIDOC = b"""// a comment
= Rivers of the North
A. N. Other <a@example.org>; B. Other
v1.2, 2008-06-25: the second
:lang: en-GB
:toc:

== Words

:author: not this
"""


@pytest.mark.parametrize(
    ("name", "content", "meta"),
    [
        ("a.rst", RST, {"title": "Rivers", "author": "A. N. Other", "date": "2008-06-25"}),
        ("a.rst", b"Rivers\n------\n\nThey flow.\n\nWords\n=====\n", {"title": "Rivers"}),
        ("a.rst", b"They flow.\n\nRivers\n------\n", {}),
        ("a.rst", b"A long title\n---\n", {}),
        ("a.rst", b"-----\n\n-----\n", {}),
        ("a.rst.gz", gzip.compress(b"Rivers\n------\n", mtime=0), {"title": "Rivers"}),
        ("a.adoc", ASCIIDOC, {"title": "Rivers of the North", "author": "A. N. Other; B. Other", "date": "2008-06-25", "language": "en"}),
        ("a.asciidoc", b":revdate: March 3, 2021\n\n= Rivers\n\nThey flow.\n", {"title": "Rivers", "date": "2021-03-03"}),
        ("a.adoc", b"They flow.\n\n= Rivers\n", {}),
        ("a.adoc", b"", {}),
        ("a.txt", RST, {}),
    ],
)  # fmt: skip
def test_the_head_of_a_text_is_metadata_and_stays_in_the_text(read, name, content, meta):
    documents, _ = read(name, content, kind="documentation")
    for document in documents:
        assert document.meta == meta
        assert document.text.encode() == (gzip.decompress(content) if name.endswith("gz") else content)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("June 25, 2008 [eBook #11]", "2008-06-25"), ("March, 1994", "1994-03"), ("Sept. 3, 2001", "2001-09-03"),
        ("3rd May 2001", "2001-05-03"), ("v1, 2001-05-03", "2001-05-03"), ("1. Jan 2001", "2001-01-01"), ("May 2001", "2001-05"),
        ("February 30, 2001", ""), ("2001-13-01", ""), ("03/04/2001", ""), ("$Date$", ""), ("", ""), ("May 1", ""),
        ("Marching 2001", ""),
    ],
)  # fmt: skip
def test_dates_are_written_as_iso_does(text, date):
    assert iso_date(text) == date


@pytest.mark.parametrize("name", ["dcterms.date", "DCTERMS.issued", "dc.date"])
def test_dublin_cores_dates_of_a_page_are_read(name):
    assert head_metadata(f'<meta name="{name}" content="2008-06-25T10:00">', "", "") == {"date": "2008-06-25"}
