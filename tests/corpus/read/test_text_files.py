"""Text in whatever encoding, and what is damaged of it."""

from __future__ import annotations

from encodings.aliases import aliases

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headwater.corpus.read.encoding import decode
from headwater.corpus.read.limits import Unusable
from headwater.corpus.sources.settings import SourceSettings

FOR_ALL = [HealthCheck.function_scoped_fixture]
TEXT = "The river rises in the hills, and reaches the sea. " * 60


@settings(max_examples=30, suppress_health_check=FOR_ALL)
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
def test_what_is_not_an_encoding_of_files_is_refused(encoding):
    with pytest.raises(ValueError, match=r"encoding of files|utf-16-le or"):
        SourceSettings(paths=["x"], encoding=encoding)


@settings(suppress_health_check=FOR_ALL)
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


def test_a_file_of_markdown_too_large_to_be_held_is_read_as_text(read):
    documents, _ = read("a.md", b"# words\n\n" * 1000, max_file_bytes=5000, max_document_characters=5000)
    assert "".join(document.text for document in documents) == "# words\n\n" * 1000


# ---- pages: each expected text was decoded by hand or by the standard's own indexes


def page(label: str, body: bytes) -> bytes:
    return f'<html><head><meta charset="{label}"></head><body><p>'.encode() + body + b"</p></body></html>"


@pytest.mark.parametrize(
    ("label", "body", "text"),
    [
        ("iso-8859-1", b"It\x92s \x93quoted\x94 \x97 don\x92t, 5 \x80", "It’s “quoted” — don’t, 5 €"),
        ("us-ascii", b"It\x92s", "It’s"),
        ("ISO-8859-9", b"\xfe\xf6yle \x85", "şöyle …"),
        ("gb2312", b"\xd6\xec\xe9F\xbb\xf9", "朱镕基"),
        ("shift_jis", b"\x87@ \x87\x8a \x93\xfa\x96{", "① ㈱ 日本"),
        ("euc-jp", b"\xad\xa1 \xad\xea \xc6\xfc\xcb\xdc", "① ㈱ 日本"),
        ("iso-2022-jp", b"\x1b$BF|K\\\x1b(B ok", "日本 ok"),
        ("euc-kr", b"\xb0\xad \x8cc", "강 똠"),
        ("big5", b"\xaae\xacy \x9d\xef", "河流 嘅"),
        ("tis-620", b"\xe1\xc1\xe8 \x85", "แม่ …"),
        ("x-mac-cyrillic", b"\x90\xe5\xea\xe0", "Река"),
        ("koi8-r", b"\xf2\xc5\xcb\xc1", "Река"),
    ],
)
def test_a_label_means_what_browsers_take_it_for(label, body, text):
    assert f"<p>{text}</p>" in decode(page(label, body))
    assert f"<p>{text}</p>" in decode(b"<p>" + body + b"</p>", label)


def test_the_server_goes_before_the_page_and_utf_8_before_a_label_that_is_wrong():
    assert "Река" in decode(page("iso-8859-1", "Река".encode("koi8-r")), "koi8-r")
    assert "Grüße, Река" in decode(page("iso-8859-1", "Grüße, Река".encode()))


@pytest.mark.parametrize("label", ["utf-8", "iso-8859-1", "no-such", "shift_jis"])
def test_one_bad_byte_costs_one_character(label):
    text = "Straßen führen über die Brücke. " * 9
    found = decode(page(label, text.encode() + b"\xff"))
    assert found.count("\ufffd") == 1 and text in found


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Река начинается в горах и течёт через леса. ", "cp1251"),
        ("川は山から始まり、森や野原を通って海へ流れる。", "cp932"),
        ("강은 산에서 시작하여 숲과 들을 지나 바다로 흐른다. ", "cp949"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy. ", "cp1250"),
    ],
)
def test_a_page_that_names_no_charset_or_the_wrong_one_is_detected(text, codec):
    data = f"<p>{text * 9}</p>".encode(codec)
    assert decode(data) == decode(page("utf-8", data)).partition("<body><p>")[2].removesuffix("</p></body></html>")
    assert text in decode(data)


@pytest.mark.parametrize("label", ["utf-16", "utf-16le", "utf-7", "x-no-such", "punycode", "unicode_escape", "zlib"])
def test_a_label_that_no_page_is_written_in_is_passed_over(label):
    assert "plain \\x41 -a" in decode(page(label, b"plain \\x41 -a"))


@pytest.mark.parametrize(("data", "reason"), [(b"<p>\0", "binary"), (page("utf-8", b"\xff\x81\x8d" * 40), "not_utf8")])
def test_what_is_not_text_is_refused(data, reason):
    with pytest.raises(Unusable, match=reason):
        decode(data)
