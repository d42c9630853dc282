"""The formats that Python's own decoders read, a block or a line at a time, in whichever process asks.

And what is done around the reading of any file, so that a bad one costs itself alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.read.encoding import replaced
from headwater.corpus.read.input import NO_PERMISSION, InputFile
from headwater.corpus.read.jsonl import read_jsonl
from headwater.corpus.read.limits import ReadLimits, Unusable, bounded
from headwater.corpus.read.markdown import read_markdown
from headwater.corpus.read.text import read_text, whole_text
from headwater.corpus.read.unwrap import unwrap
from headwater.corpus.sources.settings import CONVERSATIONS

_OF_CONVERSATIONS = ("jsonl", "json", "archive")
# the header and the licence that Project Gutenberg puts around a book, and texts made in its manner
_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]{0,300}\n", re.MULTILINE)
_END = re.compile(r"^(?:\*{3} ?)?END OF (?:THE |THIS )?PROJECT GUTENBERG[^\n]{0,300}$", re.MULTILINE | re.IGNORECASE)
_HEAD_CHARACTERS = 60_000  # in which the text begins, where it says so at all


def pieces_of(
    file: InputFile, file_format: str, read: Callable[[InputFile, str], Iterator[Document | Drop]], limits: ReadLimits
) -> Iterator[Document | Drop]:
    """Yield what `read` gives of a file in a format; whatever is wrong with it becomes a drop with a reason.

    Such a drop has the bytes of the file that no piece before it accounts for.
    """
    left, rest = 0, ""
    try:
        left = file.num_bytes
        if file.kind == CONVERSATIONS and file_format not in _OF_CONVERSATIONS:
            raise Unusable("unknown_format", "conversations are read from JSON lines (.jsonl) and JSON")
        for piece in bounded(read(file, file_format), limits.max_document_characters):
            left, rest = left - (num_bytes(piece.text) if isinstance(piece, Document) else piece.num_bytes), "#rest"
            yield piece
        if not rest:
            yield file.drop("empty", left)
    except Unusable as error:
        if file_format == "unknown" and error.reason in ("binary", "not_utf8"):
            error = Unusable("unknown_format")
        yield file.drop_for(error, max(left, 0), rest)
    except OSError as error:
        reason = NO_PERMISSION if isinstance(error, PermissionError) else "unreadable"
        yield file.drop(reason, max(left, 0) if rest else 0, rest)


def read_plain(file: InputFile, file_format: str, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the pieces of a file in none of parse.PARSED_FORMATS; what has no format known is read as text.

    Raises Unusable with the reason.
    """
    if file_format == "jsonl":
        return read_jsonl(file, limits)
    if file_format == "markdown":
        return read_markdown(file, limits)
    if file_format == "text" and file.kind == "books":
        return _read_book(file, limits)
    return read_text(file, limits)


def _read_book(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    found = whole_text(file, limits)
    if found is None:  # of a length that no book has
        yield from read_text(file, limits)
        return
    text, damage = found
    yield from replaced(file, damage)
    text, boilerplate = without_boilerplate(text)
    if text:
        yield file.document(unwrap(clean(text, file.kind)) or text)  # of what is nothing but blanks the bytes count
    if boilerplate:
        drop = file.drop("gutenberg_boilerplate", num_bytes(boilerplate), "#boilerplate", boilerplate[:500])
        yield replace(drop, num_documents=0) if text else drop


def without_boilerplate(text: str) -> tuple[str, str]:
    """Return what stands between the line that says where the text starts and the one where it ends, and the rest."""
    first = _START.search(text, 0, _HEAD_CHARACTERS)
    start = first.end() if first else 0
    last = _END.search(text, start)
    end = last.start() if last else len(text)
    return text[start:end], text[:start] + text[end:]
