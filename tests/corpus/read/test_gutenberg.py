"""A book without what its distributor put around it."""

from __future__ import annotations

import pytest

from headwater.corpus.read.gutenberg import Boilerplate

HEAD = "The Project Gutenberg eBook of Rivers\r\n\r\nThis ebook is for the use of anyone anywhere.\n\n"
START = "*** START OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"
BODY = "Chapter 1\n\nThe river runs down to the sea.\n" * 4000
END = "*** END OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"
LICENCE = "\nUpdated editions will replace the previous one. " * 2000


@pytest.mark.parametrize("size", [7, 1000, 10**7])
def test_a_text_comes_without_them_however_it_arrives(size):
    whole = HEAD + START + BODY + END + LICENCE
    boilerplate = Boilerplate()
    chunks = (whole[at : at + size] for at in range(0, len(whole), size))
    assert "".join(boilerplate.without(chunks)) == BODY
    assert boilerplate.num_bytes == len(HEAD + START + END + LICENCE)


@pytest.mark.parametrize(
    "whole", ["", "words", BODY, BODY + "\nThe end of the Project", "*** START OF SOMETHING ***\n" + BODY]
)
def test_a_text_without_them_stays_as_it_is(whole):
    boilerplate = Boilerplate()
    assert "".join(boilerplate.without([whole[:50], whole[50:]])) == whole
    assert boilerplate.num_bytes == 0


def test_what_is_cut_out_of_a_book_is_accounted_for(read):
    content = HEAD + START + BODY[:1000] + END
    documents, drops = read("a.txt", content.encode(), kind="books")
    assert [document.text for document in documents] == [BODY[:1000]]
    assert [(drop.reason, drop.num_documents, drop.num_bytes) for drop in drops] == [
        ("gutenberg_boilerplate", 0, len(HEAD + START + END))
    ]


def test_texts_of_other_kinds_are_not_cut(read):
    content = HEAD + START + BODY[:1000] + END
    (document,), drops = read("a.txt", content.encode(), kind="articles")
    assert (document.text, drops) == (content, [])
