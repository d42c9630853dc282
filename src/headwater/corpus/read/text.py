"""Plain text, Markdown and source code: any size, a block at a time."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from headwater.corpus.document import Document
from headwater.corpus.read.encoding import encoding_of, not_utf8
from headwater.corpus.read.input import BLOCK_BYTES, InputFile
from headwater.corpus.read.limits import ZERO_BYTE, Unusable
from headwater.corpus.read.sections import sections
from headwater.sources.formats import language_of, without_compression


def read_text(file: InputFile, max_document_characters: int) -> Iterator[Document]:
    """Yield the file as one document, or as sections of at most `max_document_characters`.

    The encoding is UTF-8 or what a byte order mark says. The whole file is checked before anything is yielded, so
    that a file is kept or dropped as one. Raises Unusable: not_utf8, binary, changed_while_read, and for what is wrong
    with a compressed file.
    """
    encoding = _check_encoding(file)
    language = _code_language(file.path.name) if file.kind == "code" else None
    meta = {"language": language} if language else {}
    parts = sections(_chunks(file, encoding), max_document_characters)
    first, second = next(parts, None), next(parts, None)
    if first is not None and second is None:
        yield file.document(first, **meta)
    elif first is not None and second is not None:
        for number, text in enumerate(chain((first, second), parts)):
            yield file.document(text, f"#{number}", group=file.origin, **meta)


def _code_language(name: str) -> str | None:
    """Return the programming language of a file of code, by its name: JSON among code is of some program's settings."""
    return language_of(name) or ("configuration" if without_compression(name).lower().endswith(".json") else None)


def whole_text(file: InputFile, max_bytes: int) -> str | None:
    """Return the text of a file; None of one of more than `max_bytes`. Raises Unusable as `read_text` does."""
    try:
        data = file.read_whole(max_bytes)
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None
    except Unusable as error:
        if error.reason == "file_too_large":
            return None
        raise
    if "\0" in text:
        raise Unusable("binary", ZERO_BYTE)
    return text


def _check_encoding(file: InputFile) -> str:
    num_bytes = 0
    with file.open() as stream:
        block = stream.read(BLOCK_BYTES)
        encoding = encoding_of(block)
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            while block:
                num_bytes += len(block)
                # in UTF-16 a zero byte is half of most letters
                if (encoding.startswith("utf-8") and b"\0" in block) or "\0" in decoder.decode(block):
                    raise Unusable("binary", ZERO_BYTE)
                block = stream.read(BLOCK_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:  # its bytes may begin with the end of the block before
            raise not_utf8(error, num_bytes - len(error.object)) from None
    return encoding


def _chunks(file: InputFile, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with file.open() as stream:
            while block := stream.read(BLOCK_BYTES):
                yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:  # it was whole when it was checked
        raise Unusable("changed_while_read") from None
