"""SQLite databases: one document a row, from every table that has a column "text" or "content"."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.jsonl import TEXT_FIELDS
from headwater.corpus.read.limits import RECORD_BYTES, Expansion, ReadLimits, Unusable

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
            columns = _text_columns(database)
            if not columns:
                raise Unusable("no_text")
            yield from _rows(file, database, columns)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise Unusable("damaged_sqlite") from error


def _text_columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    found = []
    for name, sql in tables:
        if not isinstance(name, bytes) or not isinstance(sql, bytes) or _VIRTUAL.match(sql):
            continue
        table = name.decode()
        names = [row[1].decode() for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]
        column = next((name for wanted in TEXT_FIELDS for name in names if name.lower() == wanted), None)
        if column is not None:
            found.append((table, column))
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(file: InputFile, database: sqlite3.Connection, columns: list[tuple[str, str]]) -> Iterator[Document | Drop]:
    # pages that lead to each other give rows without end
    expansion, file_bytes = Expansion(), file.num_bytes
    for table, column in columns:
        rows = database.execute(f"SELECT {_quoted(column)} FROM {_quoted(table)}")  # noqa: S608 - quoted names
        for number, (value,) in enumerate(rows):
            expansion.add_(max(RECORD_BYTES, len(value) if isinstance(value, bytes) else 0), file_bytes)
            yield _row(file, value, f"#{table}/{number}")


def _row(file: InputFile, value: object, part: str) -> Document | Drop:
    if not isinstance(value, bytes):
        return file.drop("no_text", 0, part)
    try:
        return file.document(value.decode(), part)
    except UnicodeDecodeError:
        return file.drop("not_utf8", len(value), part)
