"""CSV and TSV: one document a row below a header."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import encoding_of, not_utf8
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import ZERO_BYTE, ReadLimits, Unusable
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
    encoding = encoding_of(head)
    if encoding.startswith("utf-8") and b"\0" in head:
        raise Unusable("binary", ZERO_BYTE)
    line = next(iter(head.decode(encoding, "replace").splitlines()), "")
    delimiter = max(_DELIMITERS, key=line.count)
    csv.field_size_limit(limits.max_line_bytes)  # of this process, which only parses
    with file.open() as stream:
        rows = csv.reader(_text_lines(stream, encoding, limits.max_line_bytes), delimiter=delimiter)
        try:
            names = [name.strip() for name in next(rows, [])]
        except csv.Error:
            raise Unusable("malformed_csv") from None
        except UnicodeDecodeError as error:
            raise not_utf8(error, None) from None
        name = text_column(names, limits.text_column)
        if name is None:
            raise without_text(file.source, limits.text_column, names)
        yield from _documents(file, rows, names, names.index(name))


def _documents(file: InputFile, rows: Iterator[list[str]], names: list[str], column: int) -> Iterator[Document | Drop]:
    number = 0
    try:
        for number, row in enumerate(rows, start=1):
            part = f"#{number}"
            if not row or not file.begin_record(part):
                continue
            if len(row) <= column or not row[column]:
                yield file.drop("no_text", len("".join(row).encode()), part)
            else:
                yield file.document(row[column], part, **record_meta(dict(zip(names, row)), names[column]))
    except csv.Error:
        yield file.drop("malformed_csv", 0, f"#{number + 1}")
    except UnicodeDecodeError as error:
        yield file.drop_for(not_utf8(error, None), 0, f"#{number + 1}")


def _text_lines(stream: IO[bytes], encoding: str, max_line_bytes: int) -> Iterator[str]:
    """Yield lines with their ends, at most `max_line_bytes` of one at a time: csv says itself that one is too long."""
    reader = codecs.getreader(encoding)(stream) if not encoding.startswith("utf-8") else None
    lines = reader or io.TextIOWrapper(stream, encoding, newline="")
    while line := lines.readline(max_line_bytes + 1):
        if "\0" in line:
            raise Unusable("binary", ZERO_BYTE)
        yield line
