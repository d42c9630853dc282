"""What reads texts, marks and packages' own formats, as the tests of foreign bytes try it: seeds, words of the format,
what must hold (formats of files: tests/conformance/test_formats.py).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import REPLACED, encoding_of
from headwater.corpus.read.input import Member
from headwater.corpus.read.json import read_jsonl
from headwater.corpus.read.limits import ReadLimits, Unusable, bounded
from headwater.corpus.read.mediawiki import plain_text
from headwater.corpus.read.plain import read_text
from headwater.corpus.read.unwrap import unwrap
from headwater.corpus.samples.packages.dictd import read_dictd, read_wordnet
from headwater.corpus.samples.packages.rdata import read_rdata
from headwater.corpus.samples.packages.sword import read_sword
from headwater.corpus.samples.texts import SampleText, Unreadable

LIMITS = ReadLimits(max_document_characters=2000, max_line_bytes=2000, max_file_bytes=4000)
MOST = LIMITS.max_document_characters


class Target(NamedTuple):
    """`try_one` takes bytes and a folder; it raises what its parser must not raise, or fails an assert.

    `words` are the format's, which a change may put in.
    """

    seeds: Callable[[], Sequence[bytes]]
    try_one: Callable[[bytes, Path], None]
    words: Sequence[bytes]


def in_memory(name: str, data: bytes) -> Member:
    return Member(Path(name), name, "mine", "text", data)


def check_piece(piece: Document | Drop) -> None:
    if isinstance(piece, Drop):
        assert piece.reason and piece.num_bytes >= 0 and piece.num_documents >= (piece.reason != REPLACED)
        return
    assert len(piece.text) <= MOST
    piece.text.encode()
    for kind in ("text", "code"):
        cleaned = clean(piece.text, kind)
        assert clean(cleaned, kind) == cleaned, "cleaning twice changes something"


def text(data: bytes, folder: Path) -> None:
    pieces: list[Document | Drop] = []
    try:
        pieces += bounded(read_text(in_memory("a.txt", data), LIMITS), MOST)
    except Unusable as error:
        assert error.reason in ("binary", "not_utf8"), error.reason
        assert not pieces, "a text is kept or dropped as one"
        return
    for piece in pieces:
        check_piece(piece)
    read = "".join(piece.text for piece in pieces if isinstance(piece, Document))
    assert read == data.decode(encoding_of(data), "replace"), "text was lost"


def json_lines(data: bytes, folder: Path) -> None:
    pieces = list(bounded(read_jsonl(in_memory("a.jsonl", data), LIMITS), MOST))
    for piece in pieces:
        check_piece(piece)
    lines = [line for line in data.split(b"\n") if line.strip()]
    kept = {piece.id.split("/")[0] for piece in pieces if isinstance(piece, Document)}
    dropped = sum(piece.num_documents for piece in pieces if isinstance(piece, Drop))
    assert len(kept) + dropped == len(lines), "a line is neither kept nor dropped"


def marks(data: bytes, folder: Path) -> None:
    given = data.decode("utf-8", "replace")
    plain_text(given)
    bare = sorted("".join(given.split()).replace("-", ""))
    assert sorted("".join(unwrap(given).split()).replace("-", "")) == bare, "text lost"


# ---- packages' own formats: behind a compressor's checksum changes find nothing, so half of the inputs are what is
# inside, behind right sizes


def readable(read: Callable[[Path, str, int], Iterator[SampleText]], path: Path, reason: str) -> None:
    texts = read(path, path.name, LIMITS.max_file_bytes)
    documents = (Document(each.text, "mine", each.id, each.origin, "text", each.meta) for each in texts)
    try:
        for piece in bounded(documents, MOST):
            check_piece(piece)
    except Unreadable as error:
        assert error.reason in (reason, "file_too_large", "expands_too_far"), error.reason


def rdata(data: bytes, folder: Path) -> None:
    is_inside, data = data[:1] < b"\x80", data[1:]
    sealed = struct.pack(">I", len(data)) + zlib.compress(data, 1)
    (folder / "a.rdb").write_bytes(sealed + sealed if is_inside else data)
    readable(read_rdata, folder / "a.rdb", "damaged_rdata")


def sword(data: bytes, folder: Path) -> None:
    is_inside, data = data[:1] < b"\x80", data[1:]
    sealed = zlib.compress(data, 1)
    (folder / "a.bzs").write_bytes(struct.pack("<III", 0, len(sealed), len(data)) if is_inside else data[:24])
    (folder / "a.bzz").write_bytes(sealed if is_inside else data[24:])
    readable(read_sword, folder / "a.bzz", "damaged_sword")


def dictd(data: bytes, folder: Path) -> None:
    index, _, rest = data.partition(b"\0")
    (folder / "a.index").write_bytes(index)
    (folder / "a.dict.dz").write_bytes(gzip.compress(rest[1:], 1) if rest[:1] < b"\x80" else rest[1:])
    readable(read_dictd, folder / "a.dict.dz", "damaged_dictionary")


def wordnet(data: bytes, folder: Path) -> None:
    (folder / "data.noun").write_bytes(data)
    readable(read_wordnet, folder / "data.noun", "damaged_wordnet")


# ---- seeds


SYNSET = b"00000001 03 n 02 word 0 other_word 0 000 | what it means\n"
STRING = struct.pack(">ii", 9, 1) + b"a"
VECTOR = b"X\n" + struct.pack(">iii", 2, 0, 0) + struct.pack(">ii", 16, 20) + STRING * 20
WRAPPED = b"== A ==\nb [[c|d]]\n* e\n\n" + b"words of a line that is long enough to be wrapped twice\n" * 4

TEXT_WORDS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\r\n", b"\xe2\x80\xa8", b"\xcc\x80\xcc\x95")
JSON_WORDS = (b'{"text": "', b"\n", *rb'"content" "title" null \ud800 \u0000 [[[[ 1e999 NaN'.split())
MARK_WORDS = (*b"{{ }} [[ ]] {| |} <ref> </ref> <!-- -->".split(), b"== ", b"\n\n", b"-\n", b"\n- ")
RDATA_WORDS = (STRING, b"\xff\xff\xff\xff", b"\xff\xff\xff\xf8", b"\x7f\xff\xff\xff")
SWORD_WORDS = (*b"<note> </note> <p> <title> &#x".split(), b'<milestone n="')

READ: dict[str, tuple[Callable[[bytes, Path], None], Sequence[bytes], Sequence[bytes]]] = {
    "text": (text, TEXT_WORDS, (b"Words of a text.\n", "Grüße 世界".encode("utf-16"))),
    "json-lines": (json_lines, JSON_WORDS, (b'{"text": "one"}\n{"content": "two"}\n', b'{"text": "cut')),
    "marks": (marks, MARK_WORDS, (WRAPPED,)),
    "dictd": (dictd, (b"\t", b"//////"), (b"a\tA\tD\nb\tD\tD\n\0\0ab\ncd\n", b"\0\xff" + gzip.compress(b"a"))),
    "rdata": (rdata, RDATA_WORDS, (b"\0" + VECTOR, b"\xff" + struct.pack(">I", 9) + zlib.compress(b"X\n" + bytes(7)))),
    "sword": (sword, SWORD_WORDS, (b"\0<title>A</title> b<note>c</note><p>d &amp; e</p>",
                                   b"\xff" + struct.pack("<III", 0, 9, 1) + bytes(12))),
    "wordnet": (wordnet, (b" | ", b"\n", b" ff ", b" -1 ", b"(p)"), (b"  1 licence\n" + SYNSET * 2,)),
}  # fmt: skip
TARGETS = {name: Target(lambda seeds=seeds: seeds, read, words) for name, (read, words, seeds) in READ.items()}
