"""CSV and TSV: one document a row below a header."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import Damage, decoded, encoding_of, is_utf8, not_decoded, replaced, zero_byte
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ZERO_BYTE, ReadLimits, Unusable, in_unicode
from headwater.corpus.read.record import record_meta, text_column, without_text

_DELIMITERS = ",;\t|"
_HEAD_BYTES = 100_000


def read_csv(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row below the header.

    A quotation mark that isn't closed makes the rest of the file one field, which then is too long: the rows before
    it count, the rest is one drop. Raises Unusable: no_text, not_utf8, malformed_csv, binary, and for what is wrong
    with a compressed file.
    """
    head = file.head(_HEAD_BYTES)
    encoding = encoding_of(head, limits.encoding)
    if is_utf8(encoding) and b"\0" in head:
        raise zero_byte(head)
    line = next(iter(head.decode(encoding, "replace").splitlines()), "")
    delimiter = max(_DELIMITERS, key=line.count)
    csv.field_size_limit(limits.max_line_bytes)  # of this process, which only parses
    with file.open() as stream:
        rows = csv.reader(_text_lines(stream, encoding, limits.max_line_bytes), delimiter=delimiter)
        try:
            names = [in_unicode(name).strip() for name in next(rows, [])]
        except csv.Error:
            raise Unusable("malformed_csv") from None
        name = text_column(names, limits.text_column)
        if name is None:
            raise without_text(file.source, limits.text_column, names)
        yield from _documents(file, rows, names, names.index(name), encoding, limits)


def _documents(
    file: InputFile, rows: Iterator[list[str]], names: list[str], column: int, encoding: str, limits: ReadLimits
) -> Iterator[Document | Drop]:
    number = 0
    try:
        for number, row in enumerate(rows, start=1):
            part = f"#{number}"
            if not row or not file.begin_record(part):
                continue
            if len(row) <= column or not row[column]:
                yield file.drop("no_text", len("".join(row).encode()), part)
                continue
            try:
                text, damage = _whole(row[column], encoding, limits)
            except Unusable as error:
                yield file.drop_for(error, len(row[column]), part)
                continue
            values = [in_unicode(value) for value in row]
            yield file.document(text, part, **record_meta(dict(zip(names, values)), names[column]))
            yield from replaced(file, damage, part)
    except UnicodeDecodeError as error:  # of UTF-16, which doesn't go on behind a damage
        yield file.drop_for(not_decoded(error, None), 0, f"#{number + 1}")
    except csv.Error:
        yield file.drop("malformed_csv", 0, f"#{number + 1}")


def _whole(text: str, encoding: str, limits: ReadLimits) -> tuple[str, Damage | None]:
    """Return a text as `decoded` does, of which halves of surrogate pairs stand for bytes that are not decoded."""
    if in_unicode(text) == text:
        return text, None
    return decoded(text.encode(encoding, "surrogateescape"), encoding, limits.errors, None)


def _text_lines(stream: IO[bytes], encoding: str, max_line_bytes: int) -> Iterator[str]:
    """Yield lines with their ends, at most `max_line_bytes` of one at a time: csv says itself that one is too long."""
    reader = codecs.getreader(encoding)(stream, "surrogateescape") if not is_utf8(encoding) else None
    lines = reader or io.TextIOWrapper(stream, encoding, "surrogateescape", newline="")
    whole = ""
    try:
        while line := lines.readline(max_line_bytes + 1):
            if "\0" in line:
                raise Unusable("binary", ZERO_BYTE)
            whole += line
            if line[-1] in "\r\n" or len(whole) > max_line_bytes:  # such a reader takes a form feed for an end, too
                yield whole
                whole = ""
        if whole:
            yield whole
    finally:
        if reader is None and not stream.closed:
            lines.detach()  # else it would close the stream behind the back of who opened it
