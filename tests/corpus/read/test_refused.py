"""What is not what its name says, or more than the limits allow, is one drop with a reason and the bytes of the file."""

from __future__ import annotations

import json
import lzma

import pytest
from made_files import pdf, tarred
from test_books import EPUB

from headwater.corpus.read.html import page_text
from headwater.corpus.read.html_blocks import MAX_DEPTH
from headwater.corpus.read.limits import Unusable

ENTITIES = b'<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><a><p>&b;</p></a>'
EXTERNAL = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a><p>&x;</p></a>'
SUBTITLES = b"1\n00:00:01,000 --> 00:00:02,000\nWords.\n"
NO_WORDS = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    "<< /Type /Page /Parent 2 0 R >>",
]
CELL = {"cell_type": "code", "source": "x" * 5000}
REFUSED = [
    ("a.txt", "Grüße".encode("latin-1"), "not_utf8", "byte 0xFC at offset 2 is not UTF-8"),
    ("a.txt", b"\xe2\x82", "not_utf8", "iconv -f "),
    ("a.txt", "text with a \0 in it", "binary", "it holds a zero byte"),
    ("a.txt", bytes(range(256)) * 8, "binary", "it holds a zero byte"),
    ("a.txt", "川は山から始まり、森を通って流れる。".encode("cp932") * 9, "not_utf8", "iconv -f CP932 -t UTF-8"),
    ("a.txt", "It’s a “café” — don’t go".encode("cp1252") * 9, "not_utf8", "iconv -f CP1252 -t UTF-8"),
    ("a.md", b"caf\xe9", "not_utf8", "byte 0xE9 at offset 3"),
    ("a.txt", ("words " * 40).encode("utf-16-le"), "binary", "utf-16-le"),
    ("a.txt", ("words " * 40).encode("utf-16")[:-1], "not_utf8", ""),
    ("a.txt", b"\xff\xfe" + b"a\0\0\xd8b\0" * 50, "not_utf8", ""),  # half a pair of UTF-16
    ("a.txt", b"\xff\xfe\0\0" + b"\xff\xff\xff\x7f" * 50, "not_utf8", ""),  # beyond Unicode, in UTF-32
    ("a.txt", b"a slash: \xc0\xaf\n" * 9, "not_utf8", ""),  # longer than UTF-8 spells it
    ("a.txt", b"half: \xed\xa0\x80\n" * 9, "not_utf8", ""),
    ("a.txt", b"words " * 99 + b"\xe2\x82", "not_utf8", ""),
    ("a.txt", b"words " * 99 + bytes(99), "binary", ""),
    ("a.xyz", b"\0\1", "unknown_format", ""),
    ("a.exe", b"MZ" + bytes(99), "unknown_format", ""),
    ("a.pkl", b"cos\nsystem\n(S'false'\ntR.", "unknown_format", ""),  # it would run code
    *((name, "words", "unknown_format", "") for name in ("a.png", "a.7z")),
    ("a.parquet.gz", "words", "unknown_format", "decompress it"),
    *((f"a.{each}", SUBTITLES, "unknown_format", f".{each.lower()} files") for each in ("doc", "RTF", "eml", "srt")),
    ("a.mbox.gz", SUBTITLES, "unknown_format", ".mbox files are not read; convert them to .txt or .html"),
    ("a.sqlite", SUBTITLES, "unknown_format", "convert them to .csv or .jsonl"),
    ("a.txt.gz", "plain words", "not_gzip", ""),
    ("a.txt.zst", "plain words", "not_zstd", ""),
    ("a.txt.bz2", "plain words", "not_bz2", ""),
    ("a.txt.xz", "plain words", "not_xz", ""),
    ("a.jsonl", "[" * 200_000, "malformed_json", ""),
    ("a.jsonl", '{"text": ' + "9" * 200_000 + "}", "malformed_json", ""),
    *(("a.jsonl", f'{{"text": {number}}}', "no_text", "a number") for number in ("NaN", "-Infinity", "1e999")),
    ("a.jsonl", "\n\n", "empty", ""),
    ("a.json", "words\nwords", "malformed_json", ""),
    ("a.json", '["' + "a" * 9999, "malformed_json", ""),
    ("a.json", '{"a":' * 50_000, "malformed_json", ""),
    ("a.json", "[" * 90_000 + "]" * 90_000, "malformed_json", ""),
    ("a.json", b"\xff\xff", "not_utf8", ""),
    ("a.json", '"a string"', "no_text", ""),
    ("a.json", "[" * 200_000, "malformed_json", ""),
    ("a.json", '["' + "a" * 5000 + '"]', "file_too_large", ""),
    ("a.ipynb", "[" * 100_000, "malformed_json", ""),
    ("a.ipynb", b"\xff", "not_utf8", ""),
    *(("a.ipynb", text, "not_notebook", "") for text in ("[1]", '{"cells": {}}', '{"worksheets": [7], "nbformat": 3}')),
    ("a.ipynb", '{"cells": []}', "no_text", ""),
    ("a.ipynb", '{"cells": [7, {}, {"cell_type": "code", "source": [1, {}]}]}', "no_text", ""),
    ("a.ipynb", json.dumps({"cells": [CELL]}), "file_too_large", ""),
    ("a.csv", "name,size\nbig,7\n", "no_text", "no text in a column text or content"),
    ("a.csv", "PK\3\4\0\0\0words\n", "binary", ""),
    ("a.csv", "x" * 5000 + ",text\none,two\n", "malformed_csv", ""),
    ("a.parquet", "plain words, no table", "not_parquet", ""),
    ("a.arrow", "plain words, no table", "damaged_arrow", ""),
    ("a.html", "plain words without a single element", "not_html", ""),
    ("a.html", "{}", "not_html", ""),
    ("a.html", b'<meta charset="utf-8"><p>' + b"\xff\x81\x8d" * 40 + b"</p>", "not_utf8", ""),
    ("a.html", "<p>\0</p>", "binary", ""),
    ("a.html", "<div>" * 700, "too_deep", ""),
    ("a.html", "<ul><li>" * 400, "too_deep", ""),
    ("a.html", "<p>word " * 1000, "file_too_large", ""),
    ("a.xml", "words", "not_xml", ""),
    ("a.xml", "<a><b>", "damaged_xml", ""),
    ("a.xml", "<feed><entry>x</entry></feed>", "no_text", ""),
    ("a.xml", ENTITIES, "declares_entities", ""),
    ("a.xml", EXTERNAL, "declares_entities", ""),
    ("a.xml", "<p>" * 1000, "too_deep", ""),
    ("a.xml", b"<mediawiki><page>" + ENTITIES, "damaged_xml", ""),
    ("a.zip", "words", "not_zip", ""),
    ("a.tar", "words" * 200, "not_tar", ""),
    ("a.tar.gz", "words", "not_gzip", ""),
    ("a.tar.xz", lzma.compress(b"words"), "not_tar", ""),
    ("a.tar.xz", lzma.compress(tarred({"a.txt": "words"}))[:20], "damaged_xz", "cut short"),
    ("a.epub", "words", "not_epub", ""),
    ("a.epub", EPUB[:4] + bytes(2000), "damaged_epub", ""),
    ("a.pdf", "words", "not_pdf", ""),
    ("a.pdf", "%PDF-1.4\nnothing", "damaged_pdf", ""),
    ("a.pdf", pdf(NO_WORDS), "no_text", ""),
    ("a.warc", "words", "not_warc", ""),
    ("a.warc", "WARC/1.0\r\n", "damaged_warc", ""),
]


@pytest.mark.parametrize(("name", "content", "reason", "because"), REFUSED)
def test_what_is_not_what_its_name_says_is_one_drop_with_the_bytes_of_the_file(read, name, content, reason, because):
    data = content.encode() if isinstance(content, str) else content
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
