from __future__ import annotations

import bz2
import gzip
import lzma
from encodings.aliases import aliases

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headwater.corpus.sources.settings import SourceSettings


def texts(read, name, content, **limits):
    documents, drops = read(name, content, **limits)
    assert not drops
    return [document.text for document in documents]


def test_a_text_file_is_one_document_with_every_character(read):
    text = "Grüße, 世界!\r\n\n\tTabs  and\u00a0spaces \U0001f600\n"
    assert texts(read, "a.txt", text.encode()) == [text]


@pytest.mark.parametrize("name", ["a.md", "README", "a.rst", "a.log"])
def test_names_that_promise_text_or_nothing_are_read_as_text(read, name):
    assert texts(read, name, b"plain words") == ["plain words"]


@pytest.mark.parametrize(
    "content",
    ["Grüße".encode(each) for each in ("utf-8-sig", "utf-16", "utf-32")] + ["\ufeffGrüße".encode("utf-16-be")],
)
def test_a_byte_order_mark_decides_the_encoding(read, content):
    assert texts(read, "a.txt", content) == ["Grüße"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        ("Grüße".encode("latin-1"), "not_utf8"),
        (b"\xe2\x82", "not_utf8"),
        (b"text with a \0 in it", "binary"),
        (bytes(range(256)) * 8, "binary"),
    ],
)
def test_what_is_no_text_is_one_drop_with_the_bytes_of_the_file(read, content, reason):
    documents, drops = read("a.txt", content)
    assert not documents
    assert [(drop.reason, drop.num_bytes, drop.num_documents) for drop in drops] == [(reason, len(content), 1)]
    assert reason != "binary" or drops[0].because == "it holds a zero byte"


def test_an_unknown_name_with_binary_content_is_an_unknown_format(read):
    assert [drop.reason for drop in read("a.xyz", b"\x00\x01")[1]] == ["unknown_format"]


@pytest.mark.parametrize("name", ["a.docx", "a.png", "a.7z", "a.parquet.gz"])
def test_formats_that_have_no_reader_say_so(read, name):
    assert [drop.reason for drop in read(name, b"words")[1]] == ["unknown_format"]


def test_a_long_single_line_is_cut_at_spaces_and_nothing_is_lost(read):
    line = "word " * 600_000
    pieces = texts(read, "a.txt", line.encode(), max_document_characters=50_000)
    assert "".join(pieces) == line
    assert max(map(len, pieces)) <= 50_000
    assert all(piece.endswith(" ") for piece in pieces)


def test_sections_of_a_file_have_ids_of_their_own(read):
    documents, _ = read("a.txt", b"word " * 2000, max_document_characters=2000)
    assert len({document.id for document in documents}) == len(documents) > 1
    assert len({document.origin for document in documents}) == 1


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
class TestCompressed:
    def test_text_is_read_through_it(self, read, suffix, compress):
        assert texts(read, f"a.txt{suffix}", compress(b"words " * 9)) == ["words " * 9]

    def test_plain_text_under_its_name_is_not_read(self, read, suffix, compress):
        reason = {".gz": "not_gzip", ".zst": "not_zstd", ".bz2": "not_bz2", ".xz": "not_xz"}[suffix]
        assert [drop.reason for drop in read(f"a.txt{suffix}", b"plain words")[1]] == [reason]


def test_code_has_its_language_and_kind(read):
    (document,), _ = read("a.py", b"x = 1\n")
    assert (document.kind, document.meta) == ("code", {"language": "python"})


def test_a_readme_in_a_code_source_is_text(read):
    (document,), _ = read("README.md", b"words", kind="code")
    assert document.kind == "text"


@pytest.mark.parametrize(("suffix", "compress"), [(".bz2", bz2.compress), (".xz", lzma.compress)])
def test_several_streams_are_one_text(read, suffix, compress):
    assert texts(read, f"a.txt{suffix}", compress(b"one ") + compress(b"two")) == ["one two"]


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.txt", b"caf\xe9 au lait", "byte 0xE9 at offset 3 is not UTF-8"),
        ("a.txt", b"a" * (1 << 20) + b"\xe2\x82 ", "byte 0xE2 at offset 1,048,576 is not UTF-8"),
        ("a.txt", b"a" * ((1 << 20) - 1) + b"\xe2\x82 ", "byte 0xE2 at offset 1,048,575 is not UTF-8"),
        ("a.md", b"caf\xe9", "byte 0xE9 at offset 3 is not UTF-8"),
        ("a.jsonl", b'\n{"text": "caf\xe9"}', "byte 0xE9 at offset 14 is not UTF-8"),
        ("a.csv", b"text\n" + b"a\n" * 10_000 + b"caf\xe9\n", "byte 0xE9 is not UTF-8"),
    ],
)
def test_a_file_that_is_not_utf8_says_which_byte_is_not_and_what_to_do(read, name, data, found):
    (drop,) = read(name, data)[1]
    assert drop.because.startswith(found)
    assert "iconv -f " in drop.because


@pytest.mark.parametrize(
    ("text", "codec"), [("川は山から始まり、森を通って流れる。", "cp932"), ("It’s a “café” — don’t go", "cp1252")]
)
def test_a_file_in_another_charset_is_told_how_to_convert_it(read, text, codec):
    (drop,) = read("a.txt", (text * 9).encode(codec))[1]
    assert f"iconv -f {codec.upper()} -t UTF-8" in drop.because


TEXT = "The river rises in the hills, and reaches the sea. " * 60


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.sets(st.integers(0, len(TEXT) - 1), min_size=1, max_size=3),
    name=st.sampled_from(["a.txt", "a.md", "a.py", "a.ipynb"]),
)
@example(at={1000}, name="a.txt")
def test_a_bad_byte_costs_a_character_and_is_counted(read, at, name):
    shape = b'{"cells": [{"cell_type": "markdown", "source": "%s"}]}' if name == "a.ipynb" else b"%s"
    data, before = bytearray(shape % TEXT.encode()), shape.index(b"%s")
    for place in at:
        data[before + place] = 0x92
    documents, (drop,) = read(name, bytes(data))
    text = "".join("\ufffd" if n in at else c for n, c in enumerate(TEXT))
    assert "".join(each.text for each in documents) == text + "\n" * (name == "a.ipynb")
    assert (drop.reason, drop.num_bytes, drop.num_documents) == ("replaced_bytes", len(at), 0)
    assert f"byte 0x92 at offset {before + min(at):,}" in drop.because
    assert [each.reason for each in read(name, bytes(data), of_source={"errors": "strict"})[1]] == ["not_utf8"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "cp932", "koi8-r"])
@pytest.mark.parametrize(("name", "shape"), [("a.txt", "{}"), ("a.md", "{}"), ("a.csv", "text\n{}\n")])
def test_the_encoding_of_a_source_is_what_its_settings_say(read, encoding, name, shape):
    text = {"cp932": "川は山から始まり", "koi8-r": "Зимой темнеет"}.get(encoding, "It’s a “café”") * 9
    content = shape.format(text).encode(encoding)
    (document,), drops = read(name, content, of_source={"encoding": encoding.upper()})
    assert (document.text, drops) == (text, [])
    _, (drop,) = read(name, content)
    assert drop.reason == ("binary" if encoding == "utf-16-le" else "not_utf8")
    assert "encoding" in drop.because and (encoding != "utf-16-le" or "utf-16-le" in drop.because)


# what Python calls a codec, and makes no text of a file's bytes, or raises what a reader doesn't expect
NO_ENCODINGS = ["utf-9", "zip", "rot13", "hex", "idna", "punycode", "unicode_escape", "undefined", "", "\0", "utf-16"]


@pytest.mark.parametrize("encoding", NO_ENCODINGS)
def test_what_is_not_an_encoding_of_files_is_refused_in_words(encoding):
    with pytest.raises(ValueError, match=r"is not an encoding of files|write utf-16-le or utf-16-be"):
        SourceSettings(paths=["x"], encoding=encoding)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    encoding=st.sampled_from(sorted({*aliases.values()} - {"mbcs"})),
    data=st.binary(min_size=1, max_size=60) | st.just("It – rains.".encode("utf-16-le")),
    name=st.sampled_from(["a.txt", "a.md", "a.csv", "a.json", "a.jsonl", "a.ipynb"]),
    errors=st.sampled_from(["replace", "strict"]),
)
def test_bytes_in_any_encoding_are_documents_or_drops_with_a_reason(read, encoding, data, name, errors):
    try:
        SourceSettings(paths=["x"], encoding=encoding)
    except ValueError:
        return
    for shape in (b"%s", b"text\n%s\n", b'{"text": "%s"}\n'):
        documents, drops = read(name, shape % data, of_source={"encoding": encoding, "errors": errors})
        assert documents or drops
        assert not {"parser_failed", "unreadable"} & {drop.reason for drop in drops}


@pytest.mark.parametrize("name", ["a.docx", "a.odt", "a.RTF", "a.eml", "a.srt", "a.mbox.gz"])
def test_a_format_that_is_not_read_is_dropped_with_what_to_do_about_it(read, name):
    documents, (drop,) = read(name, b"1\n00:00:01,000 --> 00:00:02,000\nWords.\n")
    suffix = name.lower().removeprefix("a").removesuffix(".gz")
    assert not documents
    assert drop.reason == "unknown_format"
    assert drop.because == f"{suffix} files are not read; convert them to .txt or .html"
