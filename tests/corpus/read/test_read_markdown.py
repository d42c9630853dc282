from __future__ import annotations

import pytest


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
