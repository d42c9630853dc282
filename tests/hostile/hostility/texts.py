"""Texts: encodings, lines without end, characters that tools stumble over."""

from __future__ import annotations

import codecs
import random
from pathlib import Path

from hostility.case import KEPT, Cases, write_repeated

cases = Cases()
WORDS = (
    *("river", "stone", "cloud", "winter", "garden", "letter", "window", "silver", "morning", "yellow", "forest"),
    *("bridge", "music", "harbour", "candle", "island"),
)


def prose(seed: str, num_sentences: int = 6) -> str:
    """Return sentences that no rule of a corpus drops; those of another seed are no near duplicate of them."""
    chance = random.Random(seed)
    return "".join(f"{' '.join(chance.choices(WORDS, k=9)).capitalize()}.\n" for _ in range(num_sentences))


PROSE = prose("river")
# what the filters say of text without words: every one is right
JUNK = ("low_alpha_fraction", "long_words", "repeated_lines", "exact_duplicate", "near_duplicate", "repeated_ngrams")

cases.file("nothing empty.txt", "empty", content=b"")
cases.file("only a byte order mark mark.txt", "empty", content=codecs.BOM_UTF8)
cases.file("UTF-8 with mark utf8.txt", KEPT, content=PROSE.encode("utf-8-sig"))
cases.file("two marks marks.txt", KEPT, "exact_duplicate", content=codecs.BOM_UTF8 * 2 + PROSE.encode())
cases.file("UTF-16 with mark utf16.txt", KEPT, "exact_duplicate", content=PROSE.encode("utf-16"))
cases.file(
    "UTF-16 big-endian utf16be.txt", KEPT, "exact_duplicate", content=codecs.BOM_UTF16_BE + PROSE.encode("utf-16-be")
)
cases.file("UTF-32 with mark utf32.txt", KEPT, "exact_duplicate", content=PROSE.encode("utf-32"))
cases.file("UTF-16 without mark bare16.txt", "binary", content=PROSE.encode("utf-16-le"))
cases.file("UTF-16 of an odd length odd16.txt", "not_utf8", content=PROSE.encode("utf-16")[:-1])
cases.file("UTF-16 with half a pair half16.txt", "not_utf8", content=codecs.BOM_UTF16_LE + b"a\0\0\xd8b\0" * 50)
cases.file("UTF-32 beyond Unicode far32.txt", "not_utf8", content=codecs.BOM_UTF32_LE + b"\xff\xff\xff\x7f" * 50)
cases.file("Latin-1 latin.txt", "not_utf8", content="Des élèves fâchés à Noël.\n".encode("latin-1") * 9)
cases.file("Windows-1252 windows.txt", "not_utf8", content="“Grüße” – naïve…\n".encode("cp1252") * 9)
cases.file("Shift-JIS sjis.txt", "not_utf8", content="日本語の文章です。\n".encode("shift-jis") * 9)
cases.file("overlong UTF-8 overlong.txt", "not_utf8", content=b"a slash: \xc0\xaf\n" * 9)
cases.file("surrogates in UTF-8 cesu.txt", "not_utf8", content=b"half: \xed\xa0\x80\n" * 9)
cases.file("UTF-8 cut in a character cut.txt", "not_utf8", content=PROSE.encode() + b"\xe2\x82")
cases.file("zero bytes zeros.txt", "binary", content=PROSE.encode() + b"\0" * 99)
cases.file("all bytes bytes.txt", "binary", content=bytes(range(256)) * 9)
cases.file("all bytes, no known name bytes.qqq", "unknown_format", content=bytes(range(256)) * 9)
cases.file("old Mac line ends cr.txt", KEPT, content=prose("old brook").replace("\n", "\r").encode())
cases.file("Windows line ends crlf.txt", KEPT, content=prose("creek").replace("\n", "\r\n").encode())
cases.file(
    "Unicode line ends u2028.txt",
    KEPT,
    content=prose("stream").replace("\n", "\u2028\x85\x0b").encode(),
)
cases.file("terminal commands esc.txt", KEPT, content=("\x1b]0;x\x07\x1b[2J" + prose("burn")).encode())
cases.file("right-to-left overrides bidi.txt", KEPT, content=("\u202e\u2066" + prose("beck")).encode())
cases.file("special tokens tokens.txt", KEPT, content=("<|end_of_text|>" + prose("rill")).encode())
cases.file("half a pair, in JSON half.jsonl", "empty", content=b'{"text": "\\ud800"}\n' * 3)


@cases("one line of words", KEPT, "exact_duplicate", "near_duplicate", "repeated_ngrams", "repeated_passages")
def _one_line(folder: Path, size: int) -> None:
    write_repeated(folder / "line.txt", b"words without an end follow each other here ", size)


@cases("one character over and over", *JUNK, largest=10_000_000)
def _one_character(folder: Path, size: int) -> None:
    write_repeated(folder / "x.txt", b"x", size)


@cases("one line of one character", *JUNK)
def _one_endless_character(folder: Path, size: int) -> None:
    write_repeated(folder / "endless.txt", b"y", size)


@cases("nothing but spaces", "empty")
def _spaces(folder: Path, size: int) -> None:
    write_repeated(folder / "spaces.txt", b" ", size)


@cases("nothing but line ends", "empty")
def _line_ends(folder: Path, size: int) -> None:
    write_repeated(folder / "lines.txt", b"\n", size)


@cases("accents in a row, out of order", KEPT, *JUNK, largest=10_000_000)
def _accents(folder: Path, size: int) -> None:
    # unicodedata.normalize sorts them in a time with the square of their number
    write_repeated(folder / "zalgo.txt", "\u0315\u0300".encode(), size)


@cases("a word of marks between others", KEPT, *JUNK, largest=10_000_000)
def _mixed_accents(folder: Path, size: int) -> None:
    write_repeated(folder / "marks.txt", ("a" + "\u0315\u0300" * 400 + " ").encode(), size)


@cases("numbers as code writes them", "long_lines", "encoded_data", "low_alpha_fraction", "exact_duplicate")
def _numbers(folder: Path, size: int) -> None:
    write_repeated(folder / "data.py", b"0x1f,  \\x00" + b" " * 50, size)


@cases("a table of 100,000 columns", "no_text", largest=20_000_000)
def _columns(folder: Path, size: int) -> None:
    header = ",".join(f"c{number}" for number in range(min(100_000, size // 8)))
    write_repeated(folder / "wide.csv", b",", min(size, 200_000), start=header.encode() + b"\n", end=b"\n")


@cases("entities that grow, in XML", "declares_entities", "not_xml")
def _laughs(folder: Path, size: int) -> None:
    (folder / "laughs.xml").write_bytes(laughs("lolz"))


@cases("entities that grow, in XHTML", KEPT, "exact_duplicate", "near_duplicate", *JUNK, "too_short", "damaged_html")
def _laughs_in_html(folder: Path, size: int) -> None:
    (folder / "laughs.xhtml").write_bytes(laughs("html"))


def laughs(root: str) -> bytes:
    """Return a document whose entities, expanded, are 3 GB."""
    entities = [f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10)]
    lines = ['<?xml version="1.0"?>', f"<!DOCTYPE {root} [", '<!ENTITY l0 "lol">', *entities, "]>"]
    lines += ['<!ENTITY file SYSTEM "file:///etc/hostname">', f"<{root}><p>{PROSE}&l9;&file;</p></{root}>"]
    return "\n".join(lines).encode()
