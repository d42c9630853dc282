"""SQLite databases: one document a row, from every table that has a column of text."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.limits import MAX_TITLE_CHARACTERS, RECORD_BYTES, Expansion, ReadLimits, Unusable
from headwater.corpus.read.record import names_licence, record_meta, said_columns, text_column, without_text
from headwater.sources.spdx import MAX_EXPRESSION, UNKNOWN

_MAX_SAID_CHARACTERS = max(MAX_TITLE_CHARACTERS, MAX_EXPRESSION) + 1  # one more shows that it is cut
# a virtual table is code that runs when it is read
_VIRTUAL = re.compile(rb"\s*create(?:\s|/\*.*?\*/|--[^\n]*\n)*virtual\b", re.IGNORECASE | re.DOTALL)


def open_database(path: Path) -> sqlite3.Connection:
    """Open a database so that neither it nor its folder is written to."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def read_sqlite(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row of the tables that hold their rows themselves.

    Raises Unusable: not_sqlite, damaged_sqlite, no_text, expands_too_far.
    """
    with open(file.path, "rb") as stream:
        if stream.read(16) != b"SQLite format 3\0":
            raise Unusable("not_sqlite")
    try:
        with closing(open_database(file.path)) as database:
            database.text_factory = bytes  # decoded here, so that a bad row costs that row only
            database.execute("PRAGMA trusted_schema = OFF")  # what it says may call no function with effects
            tables = list(_tables(database, limits.text_column))
            if not any(columns for _, columns, _ in tables):
                names = [f"{table}.{name}" for table, _, names in tables for name in names]
                raise without_text(file.source, limits.text_column, names)
            for table, columns, _ in tables:
                if columns:
                    yield from _rows(file, database, table, columns)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise Unusable("damaged_sqlite") from error


def _tables(database: sqlite3.Connection, wanted: str | None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the tables that hold their rows themselves: name, columns to read (the text first, if any), all columns."""
    tables = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for name, sql in tables:
        if not isinstance(name, bytes) or not isinstance(sql, bytes) or _VIRTUAL.match(sql):
            continue
        table = name.decode()
        names = [row[1].decode() for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]
        column = text_column(names, wanted)
        yield table, [] if column is None else [column, *said_columns(names, column)], names


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(file: InputFile, database: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[Document | Drop]:
    # pages that lead to each other give rows without end
    expansion, file_bytes = Expansion(), file.num_bytes
    text, *others = columns
    wanted = ", ".join([_quoted(text), *map(_short, others)])
    rows = database.execute(f"SELECT {wanted} FROM {_quoted(table)}")  # noqa: S608 - quoted names
    for number, (value, *said) in enumerate(rows):
        part = f"#{table}/{number}"
        if not file.begin_record(part):
            continue
        meta = record_meta({name: _decoded(each) for name, each in zip(others, said)})
        size = len(value) if isinstance(value, bytes) else 0
        expansion.add_(max(RECORD_BYTES, size + sum(map(len, meta.values()))), file_bytes)
        yield _row(file, value, part, meta)


def _short(name: str) -> str:
    """Return the expression for a value beside a text: no blob, and of a string no more than can be kept."""
    column = _quoted(name)
    blob = f"'{UNKNOWN}'" if names_licence(name) else "NULL"
    return (
        f"CASE typeof({column}) WHEN 'blob' THEN {blob} "
        f"WHEN 'text' THEN substr({column}, 1, {_MAX_SAID_CHARACTERS}) ELSE {column} END"
    )


def _decoded(value: object) -> object:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value  # kept nowhere; as a licence it is one that isn't understood


def _row(file: InputFile, value: object, part: str, meta: dict[str, str]) -> Document | Drop:
    if not isinstance(value, bytes):
        return file.drop("no_text", 0, part)
    try:
        return file.document(value.decode(), part, **meta)
    except UnicodeDecodeError:
        return file.drop("not_utf8", len(value), part)
