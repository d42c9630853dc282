"""Plain text, Markdown and source code: any size, a block at a time."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import Damage, decoded, encoding_of, is_utf8, not_decoded, replaced, zero_byte
from headwater.corpus.read.input import BLOCK_BYTES, InputFile
from headwater.corpus.read.limits import ZERO_BYTE, ReadLimits, Unusable
from headwater.corpus.read.sections import sections
from headwater.corpus.sources.formats import language_of, without_compression


def read_text(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the file as one document, or as sections of at most `max_document_characters`; and what was replaced in it.

    The encoding is what a byte order mark says, or the settings. The whole file is checked before anything is yielded,
    so that a file is kept or dropped as one. Raises Unusable: not_utf8, binary, changed_while_read, and for what is
    wrong with a compressed file.
    """
    encoding, damage = _check_encoding(file, limits)
    language = _code_language(file.path.name) if file.kind == "code" else None
    meta = {"language": language} if language else {}
    chunks = _chunks(file, encoding, "replace" if damage else "strict")
    parts = sections(chunks, limits.max_document_characters)
    first, second = next(parts, None), next(parts, None)
    if first is not None and second is None:
        yield file.document(first, **meta)
    elif first is not None and second is not None:
        for number, text in enumerate(chain((first, second), parts)):
            yield file.document(text, f"#{number}", group=file.origin, **meta)
    yield from replaced(file, damage)


def _code_language(name: str) -> str | None:
    """Return the programming language of a file of code, by its name: JSON among code is of some program's settings."""
    return language_of(name) or ("configuration" if without_compression(name).lower().endswith(".json") else None)


def whole_text(file: InputFile, limits: ReadLimits) -> tuple[str, Damage | None] | None:
    """Return the text of a file, and what of it is damaged; None of one of more than `max_file_bytes`.

    Raises Unusable as `read_text` does.
    """
    try:
        data = file.read_whole(limits.max_file_bytes)
    except Unusable as error:
        if error.reason == "file_too_large":
            return None
        raise
    encoding = encoding_of(data, limits.encoding)
    if is_utf8(encoding) and b"\0" in data:
        raise zero_byte(data)
    text, damage = decoded(data, encoding, limits.errors)
    if "\0" in text:
        raise Unusable("binary", ZERO_BYTE)
    return text, damage


def _check_encoding(file: InputFile, limits: ReadLimits) -> tuple[str, Damage | None]:
    """Return the encoding, and what of the file isn't of it. Raises Unusable, not_utf8, if that is too much."""
    num_bytes = 0
    with file.open() as stream:
        block = stream.read(BLOCK_BYTES)
        encoding = encoding_of(block, limits.encoding)
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            while block:
                num_bytes += len(block)
                # in UTF-16 a zero byte is half of most letters
                if (is_utf8(encoding) and b"\0" in block) or "\0" in decoder.decode(block):
                    raise zero_byte(block)
                block = stream.read(BLOCK_BYTES)
            decoder.decode(b"", final=True)
            return encoding, None
        except UnicodeDecodeError as error:  # its bytes may begin with the end of the block before
            why = not_decoded(error, num_bytes - len(error.object))
    if limits.errors == "strict":
        raise why
    damage = Damage(why.because)
    for text in _chunks(file, encoding, "replace"):
        if "\0" in text:
            raise Unusable("binary", ZERO_BYTE)
        damage.add_(text)
    if not damage.is_little(encoding):
        raise why
    return encoding, damage


def _chunks(file: InputFile, encoding: str, errors: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    try:
        with file.open() as stream:
            while block := stream.read(BLOCK_BYTES):
                yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:  # it was whole when it was checked
        raise Unusable("changed_while_read") from None
