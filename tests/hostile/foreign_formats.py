"""What reads texts and marks, as the tests of foreign bytes try it: seeds, words of the format,
what must hold (formats of files: tests/conformance/test_formats.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


WRAPPED = b"== A ==\nb [[c|d]]\n* e\n\n" + b"words of a line that is long enough to be wrapped twice\n" * 4

TEXT_WORDS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"\r\n", b"\xe2\x80\xa8", b"\xcc\x80\xcc\x95")
JSON_WORDS = (b'{"text": "', b"\n", *rb'"content" "title" null \ud800 \u0000 [[[[ 1e999 NaN'.split())
MARK_WORDS = (*b"{{ }} [[ ]] {| |} <ref> </ref> <!-- -->".split(), b"== ", b"\n\n", b"-\n", b"\n- ")

READ: dict[str, tuple[Callable[[bytes, Path], None], Sequence[bytes], Sequence[bytes]]] = {
    "text": (text, TEXT_WORDS, (b"Words of a text.\n", "Grüße 世界".encode("utf-16"))),
    "json-lines": (json_lines, JSON_WORDS, (b'{"text": "one"}\n{"content": "two"}\n', b'{"text": "cut')),
    "marks": (marks, MARK_WORDS, (WRAPPED,)),
}  # fmt: skip
TARGETS = {name: Target(lambda seeds=seeds: seeds, read, words) for name, (read, words, seeds) in READ.items()}
