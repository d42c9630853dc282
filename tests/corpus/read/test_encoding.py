"""The bytes of pages: each expected text was decoded by hand or by the standard's own indexes."""

from __future__ import annotations

import pytest

from headwater.corpus.read.encoding import decode
from headwater.corpus.read.limits import Unusable


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


def test_what_the_server_says_goes_before_what_the_page_says():
    assert "Река" in decode(page("iso-8859-1", "Река".encode("koi8-r")), "koi8-r")


def test_utf_8_goes_before_a_label_that_is_wrong():
    assert "Grüße, Река" in decode(page("iso-8859-1", "Grüße, Река".encode()))


@pytest.mark.parametrize("label", ["utf-8", "iso-8859-1", "no-such", "shift_jis"])
def test_one_bad_byte_costs_one_character(label):
    text = "Straßen führen über die Brücke. " * 9
    assert decode(page(label, text.encode() + b"\xff")).count("\ufffd") == 1
    assert text in decode(page(label, text.encode() + b"\xff"))


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
def test_what_is_no_text_is_refused(data, reason):
    with pytest.raises(Unusable, match=reason):
        decode(data)
