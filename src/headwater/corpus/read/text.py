"""Plain text, Markdown and source code: any size, a block at a time."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator

from headwater.corpus.document import Document
from headwater.corpus.read.input import BLOCK_BYTES, InputFile
from headwater.corpus.read.limits import ZERO_BYTE, Unusable, not_utf8
from headwater.corpus.read.scripts import code_language
from headwater.corpus.read.sections import sections

# the longer mark first: UTF-32's begins with UTF-16's
_BYTE_ORDER_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]


Edit = Callable[[Iterator[str]], Iterator[str]]


def read_text(file: InputFile, max_document_characters: int, edit: Edit | None = None) -> Iterator[Document]:
    """Yield the file as one document, or as sections of at most `max_document_characters`.

    The encoding is UTF-8 or what a byte order mark says. The whole file is checked before anything is yielded, so
    that a file is kept or dropped as one. Raises Unusable: not_utf8, binary, changed_while_read, and for what is wrong
    with a compressed file. `edit` is given the text in chunks and gives it on.
    """
    encoding = _check_encoding(file)
    language = code_language(file) if file.kind == "code" else None
    meta = {"language": language} if language else {}
    chunks = _chunks(file, encoding)
    parts = with_only(sections(edit(chunks) if edit else chunks, max_document_characters))
    for number, (text, is_only) in enumerate(parts):
        part, of_whole = ("", {}) if is_only else (f"#{number}", {"group": file.origin})
        yield file.document(text, part, **meta, **of_whole)


def with_only(texts: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """Yield each text with whether it is the only one."""
    first = next(texts, None)
    if first is None:
        return
    second = next(texts, None)
    yield first, second is None
    if second is not None:
        yield second, False
        for text in texts:
            yield text, False


def encoding_of(head: bytes) -> str:
    return next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), "utf-8")


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
