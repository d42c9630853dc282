"""Parquet, Arrow files and streams (Feather among them), CSV and TSV: one document a row.

Hugging Face data sets are folders of Arrow streams.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.encoding import Damage, decoded, encoding_of, is_utf8, not_decoded, replaced, zero_byte
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import RECORD_BYTES, ZERO_BYTE, Expansion, ReadLimits, Unusable, in_unicode
from headwater.corpus.read.record import metadata_columns, names_licence, record_meta, text_column, without_text
from headwater.corpus.sources.formats import format_of
from headwater.corpus.sources.spdx import UNKNOWN

_FILE_MAGIC = b"ARROW1"
_ROWS_AT_A_TIME = 16  # each may be large
_READ_BYTES = 1 << 20  # of a column at a time: by default all of it, which may be a gigabyte


def read_arrow(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row; what is damaged costs its batch, or the rest of a stream.

    Raises Unusable: not_arrow, damaged_arrow, no_text, expands_too_far.
    """
    try:
        with pa.memory_map(str(file.path)) as source:
            is_file = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            source.seek(0)
            reader: Any = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            columns = table_columns(file, reader.schema, limits)
            batches = [map(reader.get_batch, [at]) for at in range(reader.num_record_batches)] if is_file else [reader]
            num_bytes = file.num_bytes // len(batches) if is_file and batches else 0
            groups = (Group(_checked(iter(each)), 0, num_bytes) for each in batches)
            yield from rows(file, groups, columns, reader.schema.names, limits)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError, IndexError) as error:
        raise Unusable("damaged_arrow") from error


def read_parquet(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row; what is damaged costs the rest of its row group.

    Raises Unusable: not_parquet, damaged_parquet, no_text, expands_too_far.
    """
    with open(file.path, "rb") as stream:
        if stream.read(4) != b"PAR1":
            raise Unusable("not_parquet")
    try:
        with pq.ParquetFile(file.path, buffer_size=_READ_BYTES) as table:
            columns = table_columns(file, table.schema_arrow, limits)
            numbers, first_row = _row_groups(table, file)
            groups = (_group(table, number, columns) for number in numbers)
            yield from rows(file, groups, columns, table.schema_arrow.names, limits, first_row)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise Unusable("damaged_parquet") from error


def _row_groups(table: Any, file: InputFile) -> tuple[list[int], int]:
    """Return the row groups of a file, or those that begin in its slice, and the number of the first row in them."""
    every = list(range(table.num_row_groups))
    if file.within is None:
        return every, 0
    (first, end, _), last = file.within, file.num_bytes - 1
    begins = (table.metadata.row_group(number).column(0) for number in every)
    # a damaged file may say anything: each row group is in one slice
    places = [min(max(each.dictionary_page_offset or each.data_page_offset, 0), last) for each in begins]
    numbers = [number for number in every if first <= places[number] < end]
    before = every[: numbers[0]] if numbers else []
    return numbers, sum(table.metadata.row_group(number).num_rows for number in before)


def _group(table: Any, number: int, columns: list[str]) -> Group:
    batches = table.iter_batches(_ROWS_AT_A_TIME, row_groups=[number], columns=columns, use_threads=False)
    known = table.metadata.row_group(number)
    return Group(batches, known.num_rows, known.total_byte_size)


def _checked(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        batch.validate(full=True)  # offsets beyond the buffers end the process otherwise
        yield batch


def table_columns(file: InputFile, schema: Any, limits: ReadLimits) -> list[str]:
    """Return the columns of a table that are read, the one that is the text first. Raises Unusable: no_text."""
    # a dot leads to fields of a record
    names = [name for name in schema.names if "." not in name and schema.names.count(name) == 1]
    column = text_column((name for name in names if _holds_text(schema.field(name).type)), limits.text_column)
    if column is None:
        raise without_text(file.source, limits.text_column, schema.names)
    return [column, *metadata_columns(names, column)]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are damaged together: their batches, and about how many rows and bytes they are, if that is known."""

    batches: Iterator[Any]
    num_rows: int = 0
    num_bytes: int = 0


def rows(
    file: InputFile, groups: Iterable[Group], columns: list[str], names: list[str], limits: ReadLimits, number: int = 0
) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row of `table_columns`, out of a table that has columns of these names.

    `number` is that of the first row.

    The rest of a damaged group is one drop. If a column that names licences isn't read, they aren't known. Raises
    Unusable: expands_too_far; as pyarrow for want of memory.
    """
    expansion, file_bytes = Expansion(), file.num_bytes
    unread = {"licence": UNKNOWN} if any(names_licence(name) and name not in columns for name in names) else {}
    text_name, *others = columns
    for group in groups:
        first = number
        try:
            for batch in group.batches:
                for row in range(batch.num_rows):  # one value at a time: as a list they would be there twice
                    part = f"#{number}"
                    number += 1
                    if not file.begin_record(part):
                        continue
                    try:
                        text, damage = _text(batch.column(text_name)[row], limits)
                    except Unusable as error:
                        expansion.add_(RECORD_BYTES, file_bytes)
                        yield file.drop_for(error, 0, part)
                        continue
                    meta = record_meta({name: _value(batch.column(name)[row]) for name in others}) | unread
                    expansion.add_(max(RECORD_BYTES, len(text) + sum(map(len, meta.values()))), file_bytes)
                    yield file.document(text, part, **meta)
                    yield from replaced(file, damage, part)
        except pa.ArrowMemoryError:
            raise
        except (pa.ArrowException, OSError, IndexError) as error:
            if not group.num_bytes:  # a stream: the rest of the file is lost
                raise
            num_lost = max(group.num_rows - (number - first), 1)
            num_bytes = group.num_bytes * num_lost // max(group.num_rows, 1)
            part = f"#{number}/damage"
            if file.begin_record(part, num_bytes):
                drop = file.drop(f"damaged_{format_of(file.path.name)}", num_bytes, part, because=str(error)[:200])
                yield replace(drop, num_documents=num_lost)
            number += num_lost


def _text(scalar: Any, limits: ReadLimits) -> tuple[str, Damage | None]:
    """Return a text as `decoded` does, which is UTF-8 here. Raises Unusable: no_text, not_utf8."""
    try:
        text: str | None = scalar.as_py()
    except UnicodeDecodeError:
        return decoded(scalar.as_buffer().to_pybytes(), "utf-8", limits.errors, None)
    if text is None:
        raise Unusable("no_text")
    return text, None


def _value(scalar: Any) -> Any:
    """Return a value beside a text as Python's; bytes, which are kept nowhere, for one that isn't of its type."""
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, LookupError, pa.ArrowInvalid):
        return b"not readable"


def _holds_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


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
