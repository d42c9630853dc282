"""Formats of packages: each file is written here by hand, after the format's own description."""

import gzip
import struct
import zlib

import pytest

from headwater.corpus.samples.packages.dictd import read_dictd, read_wordnet
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword
from headwater.corpus.samples.texts import Unreadable


def texts_of(read, folder, files):
    """Write files to a folder, and read the first of them."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    path = folder / next(iter(files))
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


def test_a_damaged_r_data_base_is_unusable_and_nothing_worse(tmp_path):
    files = rdb(r_value([b"a line of some length"] * 50), r_value([b"b"] * 30))
    assert len(texts_of(read_rdata, tmp_path, files)) == 2
    ((name, whole),) = files.items()
    for at in range(0, len(whole), 5):
        try:
            texts_of(read_rdata, tmp_path, {name: whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]})
        except Unreadable as error:
            assert error.reason in ("damaged_rdata", "expands_too_far")


def sword(*blocks, said=None, num_times=1):
    """Return a module of blocks whose entries say so many bytes, and stand there so many times."""
    data, entries = b"", b""
    for block in blocks:
        packed = zlib.compress(block.encode())
        entries += struct.pack("<III", len(data), len(packed), len(block.encode()) if said is None else said)
        data += packed
    return {"ot.bzz": data, "ot.bzs": entries * num_times}


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


LARGE = bytes(1_000_001)
BACKWARDS = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">ii", 16, 2**31 - 1) + struct.pack(">ii", 9, -8)
THOUSAND = zlib.compress(bytes(1000))
ENTRY = dictionary((["a"], "text\n"))
OVER_ONE_ANOTHER = "".join(f"a\t{base64_number(at)}\tZZZZ\n" for at in range(5000)).encode()
MANY = dictionary(*(([f"a{number}"], f"text {number * 7919}\n") for number in range(500)))
REFUSED = {
    "a string that ends before it begins, which is no endless loop": (read_rdata, "damaged_rdata", rdb(BACKWARDS)),
    **{
        f"a value of 1,000 bytes that says {said}": (
            read_rdata, "damaged_rdata", {"a.rdb": struct.pack(">I", said) + THOUSAND},
        )
        for said in (0, 999, 1001)
    },
    **{
        f"a block of 1,000 bytes that says {said}": (read_sword, "damaged_sword", sword("x" * 1000, said=said))
        for said in (0, 999, 1001)
    },
    "blocks over one another": (read_sword, "damaged_sword", sword("x" * 1000, num_times=2)),
    "a module without places": (read_sword, "damaged_sword", {"ot.bzz": sword("text")["ot.bzz"]}),
    "a module whose places are cut": (read_sword, "damaged_sword", {**sword("text"), "ot.bzs": b"12345"}),
    **{
        f"entries over one another of {filling!r}": (
            read_dictd, "expands_too_far", {**dictionary((["a"], filling * 20_000)), "small.index": OVER_ONE_ANOTHER},
        )
        for filling in ("text\n", "\n\n\n\n\n")
    },
    "a dictionary without index": (read_dictd, "damaged_dictionary", {"small.dict.dz": ENTRY["small.dict.dz"]}),
    "an index of no numbers": (read_dictd, "damaged_dictionary", {**ENTRY, "small.index": b"word\t!!\t%%\n"}),
    "an index of a long number": (
        read_dictd, "damaged_dictionary", {**ENTRY, "small.index": b"word\t" + b"B" * 100_000 + b"\tB\n"},
    ),
    "a dictionary that was cut": (
        read_dictd, "damaged_dictionary", {**MANY, "small.dict.dz": MANY["small.dict.dz"][:-40]},
    ),
    "a broken synset": (read_wordnet, "damaged_wordnet", {"data.noun": b"00002137 03 n zz abstraction | gloss\n"}),
    "large data of R": (read_rdata, "file_too_large", {"a.rdb": LARGE}),
    "a large file of synsets": (read_wordnet, "file_too_large", {"data.noun": LARGE}),
    "large blocks": (read_sword, "file_too_large", {"a.bzz": LARGE, "a.bzs": b""}),
    "large places": (read_sword, "file_too_large", {"a.bzz": b"", "a.bzs": LARGE}),
    "a dictionary that is large inside": (
        read_dictd, "file_too_large", {"a.dict.dz": gzip.compress(LARGE), "a.index": b"a\tA\tC\n"},
    ),
    "a large index": (read_dictd, "file_too_large", {"a.dict.dz": gzip.compress(b"a\n"), "a.index": LARGE}),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_damaged_too_large_or_a_bomb_is_unusable_by_its_reason(tmp_path, case):
    read, reason, files = REFUSED[case]
    with pytest.raises(Unreadable, match=reason):
        texts_of(read, tmp_path, files)
