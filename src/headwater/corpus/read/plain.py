"""Plain text and source code of any size, a block at a time; prose of books; Markdown.

Markdown keeps its markup, which a model should know; front matter becomes metadata.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from headwater.corpus.clean import clean
from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.licences.names import all_of
from headwater.corpus.read.encoding import Damage, decoded, encoding_of, is_utf8, not_decoded, replaced, zero_byte
from headwater.corpus.read.html_metadata import iso_date, language_of
from headwater.corpus.read.input import BLOCK_BYTES, InputFile
from headwater.corpus.read.limits import ZERO_BYTE, ReadLimits, Unusable
from headwater.corpus.read.sections import sections
from headwater.corpus.read.unwrap import unwrap
from headwater.corpus.sources.formats import language_of as programming_language_of
from headwater.corpus.sources.formats import without_compression

_FRONT = re.compile(r"\ufeff?(---|\+\+\+)[ \t]*\r?\n(.{0,20000}?\n|)\1[ \t]*(?:\r?\n|$)", re.DOTALL)
_FIELD = re.compile(r"^([A-Za-z_-]+)[ \t]*[:=][ \t]*(.*)$", re.MULTILINE)
# one name, or a list of several in brackets or a line each; or what isn't understood
_LICENCE = re.compile(
    r"^licen[sc]es?[ \t]*[:=]([^\n]*(?:\n(?:[ \t]*-[ \t]|[ \t]+\S)[^\n]*)*)", re.MULTILINE | re.IGNORECASE
)
_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
# the header and the licence that Project Gutenberg puts around a book, and texts made in its manner
_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]{0,300}\n", re.MULTILINE)
_END = re.compile(r"^(?:\*{3} ?)?END OF (?:THE |THIS )?PROJECT GUTENBERG[^\n]{0,300}$", re.MULTILINE | re.IGNORECASE)
_HEAD_CHARACTERS = 60_000  # in which the text begins, where it says so at all


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
    return programming_language_of(name) or (
        "configuration" if without_compression(name).lower().endswith(".json") else None
    )


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


def read_markdown(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the file as one document, without front matter; one too large to be held is read as text.

    Raises Unusable as read_text does.
    """
    found = whole_text(file, limits)
    if found is None:
        yield from read_text(file, limits)
        return
    text, damage = found
    meta = {}
    if front := _FRONT.match(text):
        meta = front_matter(front[2])
        text = text[front.end() :]
    if "title" not in meta and (heading := _HEADING.search(text, 0, 5000)):
        meta["title"] = heading[1]
    if text.strip() or not meta:
        yield file.document(text, **meta)
    yield from replaced(file, damage)


def front_matter(block: str) -> dict[str, str]:
    """Return what the fields of a front matter, YAML or TOML of one line a field, say of the document."""
    fields = {name.lower(): value.strip().strip("\"'") for name, value in _FIELD.findall(block)}
    fields = {name: value for name, value in fields.items() if value[:1] not in tuple("[{|>&")}
    meta = {
        "title": fields.get("title", ""),
        "author": fields.get("author", ""),
        "url": fields.get("canonical_url", ""),
        "date": iso_date(fields.get("date", "")),
        "language": language_of(fields.get("lang") or fields.get("language") or ""),
        "licence": all_of(name for value in _LICENCE.findall(block) for name in _names(value)),
    }
    return {name: value for name, value in meta.items() if value}


def _names(value: str) -> list[str]:
    """Return the names in a value that is one, or a list."""
    value = value.strip()
    listed = value[1:-1].split(",") if value[:1] == "[" and value[-1:] == "]" else value.split("\n")
    return list(filter(None, (name.strip(" \t-\"'") for name in listed)))


def read_prose(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield the file as one document or sections; of a book without hard wraps and what Project Gutenberg puts around.

    Raises Unusable as read_text does.
    """
    found = whole_text(file, limits) if file.kind == "books" else None
    if found is None:  # also of a length that no book has
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
