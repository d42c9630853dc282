"""A book without what its distributor put around it."""

from __future__ import annotations

import pytest

from headwater.corpus.read.plain import without_boilerplate

HEAD = "The Project Gutenberg eBook of Rivers\r\n\r\nThis ebook is for the use of anyone anywhere.\n\n"
START = "*** START OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"
BODY = "Chapter 1\n\nThe river runs down to the sea.\n" * 4000
END = "*** END OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"
LICENCE = "\nUpdated editions will replace the previous one. " * 2000


def test_a_text_comes_without_them():
    assert without_boilerplate(HEAD + START + BODY + END + LICENCE) == (BODY, HEAD + START + END + LICENCE)


def test_a_line_above_the_start_does_not_end_a_book():
    head = HEAD + "End of the Project Gutenberg licence in short\n"
    assert without_boilerplate(head + START + BODY + END) == (BODY, head + START + END)


@pytest.mark.parametrize(
    "whole", ["", "words", BODY, BODY + "\nThe end of the Project", "*** START OF SOMETHING ***\n" + BODY]
)
def test_a_text_without_them_stays_as_it_is(whole):
    assert without_boilerplate(whole) == (whole, "")


def test_what_is_cut_out_of_a_book_is_accounted_for(read):
    content = HEAD + START + BODY[:1000] + END
    documents, drops = read("a.txt", content.encode(), kind="books")
    assert [document.text for document in documents] == [BODY[:1000].strip()]
    assert [(drop.reason, drop.num_documents, drop.num_bytes) for drop in drops] == [
        ("gutenberg_boilerplate", 0, len(HEAD + START + END))
    ]


def test_a_book_without_a_text_is_a_document_that_is_dropped(read):
    documents, (drop,) = read("a.txt", (HEAD + START + END).encode(), kind="books")
    assert (documents, drop.reason, drop.num_documents) == ([], "gutenberg_boilerplate", 1)


def test_a_book_of_blanks_alone_counts_with_its_bytes(read):
    (document,), _ = read("a.txt", b" \r\n" * 50, kind="books")
    assert len(document.text.encode()) == 150


def test_texts_of_other_kinds_are_not_cut(read):
    content = HEAD + START + BODY[:1000] + END
    (document,), drops = read("a.txt", content.encode(), kind="articles")
    assert (document.text, drops) == (content, [])
