"""Formats of packages: each file is written here by hand, after the format's own description."""

import gzip
import struct
import zlib

import pytest

from headwater.corpus.samples.packages.dictd import read_dictd, read_wordnet
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword
from headwater.corpus.samples.texts import Unreadable


def texts_of(read, path):
    return list(read(path, f"deb:x/{path.name}", 1_000_000))


def r_value(strings, version=3, kind=16, encoding=1 << 13):
    head = b"X\n" + struct.pack(">iii", version, 0x40201, 0x30500)
    head += struct.pack(">i", 5) + b"UTF-8" if version == 3 else b""
    if kind != 16:
        return head + struct.pack(">iid", kind, 1, 1.5)
    body = b"".join(
        struct.pack(">ii", 9 | encoding, -1) if text is None else struct.pack(">ii", 9 | encoding, len(text)) + text
        for text in strings
    )
    return head + struct.pack(">ii", 16, len(strings)) + body


def rdb(*values):
    return b"".join(struct.pack(">I", len(value)) + zlib.compress(value) for value in values)


@pytest.mark.parametrize("version", [2, 3])
def test_vectors_of_lines_in_an_r_data_base_become_documents(tmp_path, version):
    lines = ["A NOVEL", "", "By a Lady", *(f"Line {number} of it" for number in range(40)), "café"]
    novel = r_value([line.encode() for line in lines], version)
    path = tmp_path / "Rdata.rdb"
    path.write_bytes(rdb(r_value([b"a", b"b"]), novel, r_value([], kind=14)))
    (document,) = texts_of(read_rdata, path)
    assert document.text.split("\n") == lines and document.meta["title"] == "A NOVEL"
    assert document.id == "deb:x/Rdata.rdb#1"


def test_missing_and_latin_1_strings_are_read(tmp_path):
    path = tmp_path / "Rdata.rdb"
    path.write_bytes(rdb(r_value([None, *["é".encode("latin-1")] * 30], encoding=1 << 14)))
    (document,) = texts_of(read_rdata, path)
    assert document.text == "\n".join(["", *["é"] * 30])


def test_a_damaged_r_data_base_is_unusable_and_nothing_worse(tmp_path):
    path = tmp_path / "Rdata.rdb"
    whole = rdb(r_value([b"a line of some length"] * 50), r_value([b"b"] * 30))
    path.write_bytes(whole)
    num_whole = len(texts_of(read_rdata, path))
    assert num_whole == 2
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            texts_of(read_rdata, path)
        except Unreadable as error:
            assert error.reason in ("damaged_rdata", "expands_too_far")


def test_a_string_that_ends_before_it_begins_is_damage_not_an_endless_loop(tmp_path):
    back = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">ii", 16, 2**31 - 1) + struct.pack(">ii", 9, -8)
    (tmp_path / "Rdata.rdb").write_bytes(rdb(back))
    with pytest.raises(Unreadable, match="damaged_rdata"):
        texts_of(read_rdata, tmp_path / "Rdata.rdb")


@pytest.mark.parametrize("said", [0, 999, 1001])
def test_a_value_is_as_long_as_it_says_or_damage(tmp_path, said):
    (tmp_path / "Rdata.rdb").write_bytes(struct.pack(">I", said) + zlib.compress(bytes(1000)))
    with pytest.raises(Unreadable, match="damaged_rdata"):
        texts_of(read_rdata, tmp_path / "Rdata.rdb")


def sword_module(folder, blocks):
    folder.mkdir(exist_ok=True)
    data, entries = b"", b""
    for block in blocks:
        packed = zlib.compress(block.encode())
        entries += struct.pack("<III", len(data), len(packed), len(block.encode()))
        data += packed
    (folder / "ot.bzz").write_bytes(data)
    (folder / "ot.bzs").write_bytes(entries)
    return folder / "ot.bzz"


def test_blocks_of_a_sword_module_become_documents_without_markup(tmp_path):
    marked = (
        '<div osisID="Gen" type="book"/> <milestone n="Genesis" type="x-usfm-toc1"/><title>Genesis</title>'
        '<div sID="gen3" type="x-p"/> Verses 1, 2.\u00a0 &amp; the <hi type="italic">first</hi> verse.'
        '<note>left out</note> <div eID="gen3" type="x-p"/><div sID="gen4" type="x-p"/>Another paragraph.'
    )
    path = sword_module(tmp_path / "module", ["<milestone type='x-importer'/>", marked])
    (document,) = texts_of(read_sword, path)
    assert document.text == "Genesis\n\nVerses 1, 2. & the first verse.\n\nAnother paragraph."
    assert document.meta["title"] == "Genesis" and document.id == "deb:x/ot.bzz#1"


def test_a_sword_module_without_its_places_is_unusable(tmp_path):
    path = sword_module(tmp_path / "module", ["text"])
    path.with_name("ot.bzs").write_bytes(b"12345")
    with pytest.raises(Unreadable, match="damaged_sword"):
        texts_of(read_sword, path)
    path.with_name("ot.bzs").unlink()
    with pytest.raises(Unreadable, match="damaged_sword"):
        texts_of(read_sword, path)


@pytest.mark.parametrize("said", [0, 999, 1001])
def test_a_block_is_as_long_as_its_entry_says_or_damage(tmp_path, said):
    path = sword_module(tmp_path / "module", ["x" * 1000])
    start, size, _ = struct.unpack("<III", path.with_name("ot.bzs").read_bytes())
    path.with_name("ot.bzs").write_bytes(struct.pack("<III", start, size, said))
    with pytest.raises(Unreadable, match="damaged_sword"):
        texts_of(read_sword, path)


def test_blocks_that_lie_over_one_another_are_damage_not_a_bomb(tmp_path):
    path = sword_module(tmp_path / "module", ["x" * 1000])
    start, size, num_bytes = struct.unpack("<III", path.with_name("ot.bzs").read_bytes())
    path.with_name("ot.bzs").write_bytes(struct.pack("<III", start, size, num_bytes) * 2)
    with pytest.raises(Unreadable, match="damaged_sword"):
        texts_of(read_sword, path)


def test_a_note_without_its_end_keeps_the_text_after_it(tmp_path):
    path = sword_module(tmp_path / "module", [f"One <note>{'kept ' * 2000}<note n='1'>out</note> two <note>three"])
    (document,) = texts_of(read_sword, path)
    assert document.text.startswith("One kept") and "out" not in document.text and document.text.endswith("two three")


DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def base64_number(value):
    text = DIGITS[value % 64]
    while value >= 64:
        value //= 64
        text = DIGITS[value % 64] + text
    return text


def dictionary(folder, entries):
    data, lines = b"", []
    for headwords, text in entries:
        for headword in headwords:
            lines.append(f"{headword}\t{base64_number(len(data))}\t{base64_number(len(text.encode()))}")
        data += text.encode()
    path = folder / "small.dict.dz"
    path.write_bytes(gzip.compress(data))
    (folder / "small.index").write_text("\n".join(sorted(lines)) + "\n")
    return path


def test_a_dictionary_becomes_articles_of_entries_each_once(tmp_path):
    entries = [(["00-database-info"], "About this dictionary.\n")]
    entries += [
        ([f"word{number}", f"alias{number}"], f"word{number}\n   see {{word0}} {'x' * 90}\n") for number in range(300)
    ]
    documents = texts_of(read_dictd, dictionary(tmp_path, entries))
    text = "\n\n".join(document.text for document in documents)
    assert [line for line in text.split("\n") if line.startswith("word")] == [f"word{number}" for number in range(300)]
    assert "{" not in text and "About this" not in text and len(documents) > 3
    assert documents[0].meta["title"].startswith("word0 to word")


@pytest.mark.parametrize("filling", ["text\n", "\n\n\n\n\n"])
def test_entries_that_lie_over_one_another_are_no_bomb(tmp_path, filling):
    path = dictionary(tmp_path, [(["a"], filling * 20_000)])
    path.with_name("small.index").write_text("".join(f"a\t{base64_number(at)}\tZZZZ\n" for at in range(5000)))
    with pytest.raises(Unreadable, match="expands_too_far"):
        texts_of(read_dictd, path)


@pytest.mark.parametrize("index", [None, "word\t!!\t%%\n", f"word\t{'B' * 100_000}\tB\n"])
def test_a_dictionary_with_a_bad_index_is_unusable(tmp_path, index):
    path = dictionary(tmp_path, [(["a"], "text\n")])
    path.with_name("small.index").unlink()
    if index is not None:
        path.with_name("small.index").write_text(index)
    with pytest.raises(Unreadable, match="damaged_dictionary"):
        texts_of(read_dictd, path)


def test_a_cut_dictionary_is_unusable(tmp_path):
    path = dictionary(tmp_path, [([f"a{number}"], f"text {number * 7919}\n") for number in range(500)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Unreadable, match="damaged_dictionary"):
        texts_of(read_dictd, path)


LARGE = bytes(1_000_001)
PLAIN_DICTIONARY = gzip.compress(b"a\n")


@pytest.mark.parametrize(
    "read, name, files",
    [
        (read_rdata, "a.rdb", {"a.rdb": LARGE}),
        (read_wordnet, "data.noun", {"data.noun": LARGE}),
        (read_sword, "a.bzz", {"a.bzz": LARGE, "a.bzs": b""}),
        (read_sword, "a.bzz", {"a.bzz": b"", "a.bzs": LARGE}),
        (read_dictd, "a.dict.dz", {"a.dict.dz": gzip.compress(LARGE), "a.index": b"a\tA\tC\n"}),
        (read_dictd, "a.dict.dz", {"a.dict.dz": PLAIN_DICTIONARY, "a.index": LARGE}),
    ],
)
def test_a_file_too_large_is_left(tmp_path, read, name, files):
    for each, data in files.items():
        (tmp_path / each).write_bytes(data)
    with pytest.raises(Unreadable, match="file_too_large"):
        texts_of(read, tmp_path / name)


WORDNET = """\
  1 This software and database is being provided to you under a licence.
00002137 03 n 02 abstraction 0 abstract_entity 0 001 @ 00001740 n 0000 | a general concept; "he loved her only in the abstract"
00015388 05 n 02 animal 0 beast 0 000 | a living organism
00001740 00 a 01 able(p) 0 000 | having the necessary means
"""


def test_synsets_become_lines_by_subject(tmp_path):
    path = tmp_path / "data.noun"
    path.write_text(WORDNET)
    documents = texts_of(read_wordnet, path)
    assert [document.text for document in documents] == [
        'abstraction, abstract entity (noun): a general concept; "he loved her only in the abstract"',
        "animal, beast (noun): a living organism",
        "able (adjective): having the necessary means",
    ]


def test_a_broken_synset_makes_the_file_unusable(tmp_path):
    path = tmp_path / "data.noun"
    path.write_text("00002137 03 n zz abstraction | gloss\n")
    with pytest.raises(Unreadable, match="damaged_wordnet"):
        texts_of(read_wordnet, path)
