"""Modules of the SWORD project: books and commentaries in blocks of zlib (drivers zText and zCom), markup taken off.

Beside NAME.bzz (or czz, vzz, after what a block holds: a book, a chapter, a verse) lies NAME.bzs, which has the place
and size of each block. A text is a block.
"""

from __future__ import annotations

import html
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from headwater.corpus.samples.texts import SampleText, damaged

_ENTRY = struct.Struct("<III")  # place, compressed bytes, bytes
_MAX_BLOCK_BYTES = 64_000_000
# in OSIS a paragraph may be a pair of empty elements, its start and its end
_BREAK = re.compile(
    r"<(?:div|p|lb|br|title|lg|l|list|item|chapter)\b[^<>]{0,500}>|</(?:p|title|lg|l|list|item|div)>", re.I
)
_NOTE, _NOTE_END = re.compile(r"<note\b[^<>]{0,500}>", re.I), re.compile(r"</note>", re.I)
_MAX_NOTE_CHARACTERS = 5000  # where one seems longer, its end is missing
_TITLE = re.compile(
    r"<title\b[^<>]{0,500}>([^<>]{1,200})</title>|<milestone n=\"([^\"]{1,200})\" type=\"x-usfm-toc1\"", re.I
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_SPACES = re.compile(r"[ \t\xa0]+")


def read_sword(path: Path, origin: str) -> Iterator[SampleText]:
    """Yield a text a block that holds some. Raises DataError for a damage."""
    try:
        data, places = path.read_bytes(), path.with_name(path.name[:-1] + "s").read_bytes()
        for number, (start, size, num_bytes) in enumerate(_ENTRY.iter_unpack(places)):
            marked = _block(data[start : start + size], num_bytes).decode("utf-8", "replace") if size else ""
            if text := plain_text(marked):
                yield SampleText(text, f"{origin}#{number}", origin, {"title": _title(marked, text)})
    except (FileNotFoundError, struct.error, ValueError, zlib.error) as error:
        raise damaged(origin, error) from error


def _block(compressed: bytes, num_bytes: int) -> bytes:
    """Return a block, which must be as long as its entry says: what it may expand to goes by that."""
    block = zlib.decompressobj().decompress(compressed, min(num_bytes, _MAX_BLOCK_BYTES) + 1)
    if len(block) != num_bytes:
        raise ValueError("a block is of another size than its entry says")
    return block


def plain_text(marked: str) -> str:
    """Return a block's text: an empty line where paragraphs end, no notes, no markup."""
    text = _TAG.sub("", _BREAK.sub("\n", _without_notes(marked)))
    lines = (_SPACES.sub(" ", line).strip() for line in html.unescape(text).split("\n"))
    return "\n\n".join(line for line in lines if line)


def _without_notes(marked: str) -> str:
    kept, at = list[str](), 0
    ends = _NOTE_END.finditer(marked)
    end = next(ends, None)
    for note in _NOTE.finditer(marked):
        while end is not None and end.start() < note.end():
            end = next(ends, None)
        if note.start() >= at and end is not None and end.start() - note.end() <= _MAX_NOTE_CHARACTERS:
            kept.append(marked[at : note.start()])
            at = end.end()
    return "".join([*kept, marked[at:]])


def _title(marked: str, text: str) -> str:
    found = _TITLE.search(marked)
    return html.unescape(found.group(1) or found.group(2)).strip() if found else text[:80].split("\n")[0]
