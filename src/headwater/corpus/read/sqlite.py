"""SQLite databases: one document a row, from every table that has a column "text" or "content"."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.input import InputFile, Unusable
from headwater.corpus.read.jsonl import TEXT_FIELDS


def open_database(path: Path) -> sqlite3.Connection:
    """Open a database so that neither it nor its folder is written to."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def read_sqlite(file: InputFile) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every row. Raises Unusable: not_sqlite, damaged_sqlite, no_text."""
    with open(file.path, "rb") as stream:
        if stream.read(16) != b"SQLite format 3\0":
            raise Unusable("not_sqlite")
    try:
        with closing(open_database(file.path)) as database:
            database.text_factory = bytes  # decoded here, so that a bad row costs that row only
            columns = _text_columns(database)
            if not columns:
                raise Unusable("no_text")
            for table, column in columns:
                rows = database.execute(f"SELECT {_quoted(column)} FROM {_quoted(table)}")  # noqa: S608 - quoted names
                for number, (value,) in enumerate(rows):
                    yield _row(file, value, f"#{table}/{number}")
    except sqlite3.Error as error:
        raise Unusable("damaged_sqlite") from error


def _text_columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    found = []
    for (table,) in ((name.decode(),) for (name,) in tables):
        names = [row[1].decode() for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]
        column = next((name for wanted in TEXT_FIELDS for name in names if name.lower() == wanted), None)
        if column is not None:
            found.append((table, column))
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _row(file: InputFile, value: object, part: str) -> Document | Drop:
    if not isinstance(value, bytes):
        return file.drop("no_text", 0, part)
    try:
        return file.document(value.decode(), part)
    except UnicodeDecodeError:
        return file.drop("not_utf8", len(value), part)
