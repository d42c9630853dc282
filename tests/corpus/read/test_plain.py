"""Plain text: Markdown, and books as Project Gutenberg has them."""

from __future__ import annotations

import pytest

from headwater.corpus.read.plain import without_boilerplate

HEAD = "The Project Gutenberg eBook of Rivers\r\n\r\nThis ebook is for the use of anyone anywhere.\n\n"
START = "*** START OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"
BODY = "Chapter 1\n\nThe river runs down to the sea.\n" * 4000
END = "*** END OF THE PROJECT GUTENBERG EBOOK RIVERS ***\n"
LICENCE = "\nUpdated editions will replace the previous one. " * 2000


def one(read, text: str):
    (document,), drops = read("a.md", text.encode())
    assert not drops
    return document


def test_front_matter_becomes_metadata(read):
    front = '---\ntitle: "On Rivers"\nauthor: A. Author\ndate: 2020-03-04 05:06\nlang: en-GB\nlicense: CC0-1.0\ntags: [a, b]\n---\n'
    document = one(read, f"{front}\n# Heading\n\nText.\n")
    assert document.text == "\n# Heading\n\nText.\n"
    assert document.meta == {
        "title": "On Rivers",
        "author": "A. Author",
        "date": "2020-03-04",
        "language": "en",
        "licence": "CC0-1.0",
    }


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("license: Apache License, Version 2.0", "Apache-2.0"),
        ("licence: All rights reserved", "All rights reserved"),
        ("license: [mit]", "MIT"),
        ("license:\n- mit\n- 'apache-2.0'", "MIT AND Apache-2.0"),
        ('license: ["MIT OR GPL-3.0", "CC-BY-NC-4.0"]', "(MIT OR GPL-3.0-only) AND CC-BY-NC-4.0"),
        ("licenses:\n  - MIT\n  - my own", "my own"),
        ("license:\n  name: GPL-3.0\n  url: x", "name: GPL-3.0"),
        ("license: MIT\nlicence: GPL-3.0", "MIT AND GPL-3.0-only"),
        ("license: " + "MIT AND " * 36 + "MIT AND GPL-3.0-only AND " + "x " * 100, "unknown"),
        ("license:", None),
    ],
)
def test_a_licence_is_one_name_or_a_list(read, said, licence):
    assert one(read, f"---\ntitle: T\n{said}\ntags: x\n---\nText.\n").meta.get("licence") == licence


def test_markup_is_kept_and_the_first_heading_is_the_title(read):
    text = "# On *rivers*\n\n- a [link](x)\n\n```c\nint x;\n```\n"
    document = one(read, text)
    assert (document.text, document.meta) == (text, {"title": "On *rivers*"})


def test_a_line_across_the_page_is_no_front_matter(read):
    text = "Words\n\n---\n\nmore: words\n\n---\n"
    assert one(read, text).text == text


def test_a_file_too_large_to_be_held_is_read_as_text(read):
    documents, _ = read("a.md", b"# words\n\n" * 1000, max_file_bytes=5000, max_document_characters=5000)
    assert "".join(document.text for document in documents) == "# words\n\n" * 1000


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
