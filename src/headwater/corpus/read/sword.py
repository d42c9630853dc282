"""Modules of the SWORD project: books and commentaries in blocks of zlib (drivers zText and zCom), markup taken off.

Beside NAME.bzz (or czz, vzz, after what a block holds: a book, a chapter, a verse) lies NAME.bzs, which has the place
and size of each block. A document is a block.
"""

from __future__ import annotations

import html
import re
import struct
import zlib
from collections.abc import Iterator

from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import Expansion, Unusable

_ENTRY = struct.Struct("<III")  # place, compressed bytes, bytes
_MAX_BLOCK_BYTES = 64_000_000
# in OSIS a paragraph may be a pair of empty elements, its start and its end
_BREAK = re.compile(
    r"<(?:div|p|lb|br|title|lg|l|list|item|chapter)\b[^<>]{0,500}>|</(?:p|title|lg|l|list|item|div)>", re.I
)
_LEFT_OUT = re.compile(r"<note\b[^<>]{0,500}>.{0,5000}?</note>", re.I | re.S)
_TITLE = re.compile(
    r"<title\b[^<>]{0,500}>([^<>]{1,200})</title>|<milestone n=\"([^\"]{1,200})\" type=\"x-usfm-toc1\"", re.I
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_SPACES = re.compile(r"[ \t\xa0]+")


def read_sword(file: InputFile) -> Iterator[Document]:
    """Yield a document a block that holds text. Raises Unusable: damaged_sword, expands_too_far."""
    blocks = file.path.with_name(file.path.name[:-1] + "s")
    if not blocks.is_file():
        raise Unusable("damaged_sword")
    data, expansion = file.path.read_bytes(), Expansion()
    for number, (start, size, num_bytes) in enumerate(_entries(blocks.read_bytes())):
        if not size:
            continue
        expansion.add_(num_bytes, len(data))
        try:
            marked = (
                zlib.decompressobj().decompress(data[start : start + size], _MAX_BLOCK_BYTES).decode("utf-8", "replace")
            )
        except zlib.error as error:
            raise Unusable("damaged_sword") from error
        text = plain_text(marked)
        if text:
            yield file.document(text, f"#{number}", title=_title(marked, text))


def _entries(data: bytes) -> Iterator[tuple[int, int, int]]:
    if len(data) % _ENTRY.size:
        raise Unusable("damaged_sword")
    return _ENTRY.iter_unpack(data)


def plain_text(marked: str) -> str:
    """Return a block's text: an empty line where paragraphs end, no notes, no markup."""
    text = _TAG.sub("", _BREAK.sub("\n", _LEFT_OUT.sub("", marked)))
    lines = (_SPACES.sub(" ", line).strip() for line in html.unescape(text).split("\n"))
    return "\n\n".join(line for line in lines if line)


def _title(marked: str, text: str) -> str:
    found = _TITLE.search(marked)
    return html.unescape(found.group(1) or found.group(2)).strip() if found else text[:80].split("\n")[0]
