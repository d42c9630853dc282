"""What is not what its name says, or more than the limits allow, is one drop with a reason and the bytes of the file."""

from __future__ import annotations

import pytest
from golden_rows import rows

from headwater.corpus.read.html import page_text
from headwater.corpus.read.html_blocks import MAX_DEPTH
from headwater.corpus.read.limits import Unusable


@pytest.mark.parametrize(("name", "parts", "encoding", "reason", "because"), rows("refused_files"))
def test_what_is_not_what_its_name_says_is_one_drop_with_the_bytes_of_the_file(
    read, name, parts, encoding, reason, because
):
    """A part is a text, or one and how often it comes."""
    parts = [parts] if isinstance(parts, str) else parts
    data = "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts).encode(encoding)
    largest = 4000 if reason in ("file_too_large", "malformed_csv") else 300_000
    documents, drops = read(name, data, max_file_bytes=largest, max_line_bytes=largest)
    assert (documents, [(drop.reason, drop.num_documents) for drop in drops]) == ([], [(reason, 1)])
    assert because in drops[0].because
    assert drops[0].num_bytes == len(data)


def test_what_is_left_of_a_dump_whose_last_page_has_no_end_is_counted(read):
    page = "<page><title>T</title><ns>0</ns><revision><text>Words.</text></revision></page>"
    for largest in (1000, 3_000_000):
        content = f"<mediawiki>{page}<page><text>{'word ' * 300_000}</page ></mediawiki>".encode()
        documents, drops = read("a.xml", content, max_file_bytes=largest)
        assert ([each.text for each in documents], [each.reason for each in drops]) == (
            ["T\n\nWords."],
            ["damaged_xml"],
        )
        assert drops[0].num_bytes > 1_500_000


def test_only_elements_that_hold_others_count_as_depth():
    page_text("<p>" * 5000 + "text")
    page_text("<div>" * (MAX_DEPTH - 10) + "text")
    with pytest.raises(Unusable, match="too_deep"):
        page_text("<div>" * (MAX_DEPTH + 10) + "text")
