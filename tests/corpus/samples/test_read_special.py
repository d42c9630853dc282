"""Formats of packages: each file is written here by hand, after the format's own description."""

import gzip
import struct
import zlib

import pytest

from headwater.core.errors import DataError
from headwater.corpus.samples.packages.dictd import read_dictd, read_wordnet
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword


def texts_of(read, folder, files):
    """Write files to a folder, and read the first of them."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    path = folder / next(iter(files))
    return list(read(path, f"deb:x/{path.name}"))


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
    return {"Rdata.rdb": b"".join(struct.pack(">I", len(value)) + zlib.compress(value) for value in values)}


@pytest.mark.parametrize("version", [2, 3])
def test_vectors_of_lines_in_an_r_data_base_become_documents(tmp_path, version):
    lines = ["A NOVEL", "", "By a Lady", *(f"Line {number} of it" for number in range(40)), "café"]
    novel = r_value([line.encode() for line in lines], version)
    (document,) = texts_of(read_rdata, tmp_path, rdb(r_value([b"a", b"b"]), novel, r_value([], kind=14)))
    assert document.text.split("\n") == lines and document.meta["title"] == "A NOVEL"
    assert document.id == "deb:x/Rdata.rdb#1"


def test_missing_and_latin_1_strings_are_read(tmp_path):
    strings = [None, *["é".encode("latin-1")] * 30]
    (document,) = texts_of(read_rdata, tmp_path, rdb(r_value(strings, encoding=1 << 14)))
    assert document.text == "\n".join(["", *["é"] * 30])


def sword(*blocks, said=None):
    """Return a module of blocks whose entries say so many bytes."""
    data, entries = b"", b""
    for block in blocks:
        packed = zlib.compress(block.encode())
        entries += struct.pack("<III", len(data), len(packed), len(block.encode()) if said is None else said)
        data += packed
    return {"ot.bzz": data, "ot.bzs": entries}


def test_blocks_of_a_sword_module_become_documents_without_markup(tmp_path):
    marked = (
        '<div osisID="Gen" type="book"/> <milestone n="Genesis" type="x-usfm-toc1"/><title>Genesis</title>'
        '<div sID="gen3" type="x-p"/> Verses 1, 2.\u00a0 &amp; the <hi type="italic">first</hi> verse.'
        '<note>left out</note> <div eID="gen3" type="x-p"/><div sID="gen4" type="x-p"/>Another paragraph.'
    )
    (document,) = texts_of(read_sword, tmp_path, sword("<milestone type='x-importer'/>", marked))
    assert document.text == "Genesis\n\nVerses 1, 2. & the first verse.\n\nAnother paragraph."
    assert document.meta["title"] == "Genesis" and document.id == "deb:x/ot.bzz#1"


def test_a_note_without_its_end_keeps_the_text_after_it(tmp_path):
    module = sword(f"One <note>{'kept ' * 2000}<note n='1'>out</note> two <note>three")
    (document,) = texts_of(read_sword, tmp_path, module)
    assert document.text.startswith("One kept") and "out" not in document.text and document.text.endswith("two three")


DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def base64_number(value):
    text = DIGITS[value % 64]
    while value >= 64:
        value //= 64
        text = DIGITS[value % 64] + text
    return text


def dictionary(*entries):
    data, lines = b"", []
    for headwords, text in entries:
        for headword in headwords:
            lines.append(f"{headword}\t{base64_number(len(data))}\t{base64_number(len(text.encode()))}\n")
        data += text.encode()
    return {"small.dict.dz": gzip.compress(data), "small.index": "".join(sorted(lines)).encode()}


def test_a_dictionary_becomes_articles_of_entries_each_once(tmp_path):
    entries = [(["00-database-info"], "About this dictionary.\n")]
    entries += [
        ([f"word{number}", f"alias{number}"], f"word{number}\n   see {{word0}} {'x' * 90}\n") for number in range(300)
    ]
    documents = texts_of(read_dictd, tmp_path, dictionary(*entries))
    text = "\n\n".join(document.text for document in documents)
    assert [line for line in text.split("\n") if line.startswith("word")] == [f"word{number}" for number in range(300)]
    assert "{" not in text and "About this" not in text and len(documents) > 3
    assert documents[0].meta["title"].startswith("word0 to word")


WORDNET = """\
  1 This software and database is being provided to you under a licence.
00002137 03 n 02 abstraction 0 abstract_entity 0 001 @ 00001740 n 0000 | a general concept; "he loved her only in the abstract"
00015388 05 n 02 animal 0 beast 0 000 | a living organism
00001740 00 a 01 able(p) 0 000 | having the necessary means
"""


def test_synsets_become_lines_by_subject(tmp_path):
    documents = texts_of(read_wordnet, tmp_path, {"data.noun": WORDNET.encode()})
    assert [document.text for document in documents] == [
        'abstraction, abstract entity (noun): a general concept; "he loved her only in the abstract"',
        "animal, beast (noun): a living organism",
        "able (adjective): having the necessary means",
    ]


BACKWARDS = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">ii", 16, 2**31 - 1) + struct.pack(">ii", 9, -8)
THOUSAND = zlib.compress(bytes(1000))
ENTRY = dictionary((["a"], "text\n"))
MANY = dictionary(*(([f"a{number}"], f"text {number * 7919}\n") for number in range(500)))
DAMAGED = {
    "a string that ends before it begins, which is no endless loop": (read_rdata, rdb(BACKWARDS)),
    "a value of 1,000 bytes that says 999": (read_rdata, {"a.rdb": struct.pack(">I", 999) + THOUSAND}),
    "a value of 1,000 bytes that says 1,001": (read_rdata, {"a.rdb": struct.pack(">I", 1001) + THOUSAND}),
    "a value that is cut": (read_rdata, {"a.rdb": struct.pack(">I", 1000) + THOUSAND[:-4]}),
    "a block of 1,000 bytes that says 999": (read_sword, sword("x" * 1000, said=999)),
    "a block of 1,000 bytes that says 1,001": (read_sword, sword("x" * 1000, said=1001)),
    "a module without places": (read_sword, {"ot.bzz": sword("text")["ot.bzz"]}),
    "a module whose places are cut": (read_sword, {**sword("text"), "ot.bzs": b"12345"}),
    "a dictionary without index": (read_dictd, {"small.dict.dz": ENTRY["small.dict.dz"]}),
    "an index of no numbers": (read_dictd, {**ENTRY, "small.index": b"word\t!!\t%%\n"}),
    "a dictionary that was cut": (read_dictd, {**MANY, "small.dict.dz": MANY["small.dict.dz"][:-40]}),
    "a broken synset": (read_wordnet, {"data.noun": b"00002137 03 n zz abstraction | gloss\n"}),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_damaged_is_said(tmp_path, case):
    read, files = DAMAGED[case]
    with pytest.raises(DataError, match=f"deb:x/{next(iter(files))} is damaged"):
        texts_of(read, tmp_path, files)
