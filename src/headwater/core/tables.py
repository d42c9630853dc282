"""Tables that ship with headwater and that a user can replace: CSV files, every row with its source. No torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path

from headwater.core.errors import ConfigError, DataError

CsvRow = dict[str, str]

MAX_FILE_BYTES = 16_000_000
MAX_COLUMNS = 500
MAX_CELLS = 2_000_000


@dataclass(frozen=True)
class Sheet:
    """A CSV file: its columns, and each line of cells that isn't blank with its number, as a text editor counts."""

    name: str
    columns: tuple[str, ...]
    lines: tuple[tuple[int, list[str]], ...]

    def rows(self) -> list[tuple[int, CsvRow]]:
        """Return numbers and rows, blank cells where a line is short; raise DataError where one is too long."""
        num_columns = len(self.columns)
        for number, line in self.lines:
            if len(line) > num_columns:
                raise DataError(
                    f"{self.name} line {number}: {len(line)} cells and {num_columns} columns, "
                    f"{line[num_columns].strip()!r} is the first too many; quote cells that hold commas"
                )
        return [
            (number, dict(zip(self.columns, [*line, *[""] * (num_columns - len(line))], strict=True)))
            for number, line in self.lines
        ]


def read_sheet(path: Path) -> Sheet:
    """Return a CSV file; raise DataError when it can't be read or names a column twice."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"{path} doesn't exist; name a CSV file") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; name a CSV file") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise DataError(
            f"{path} has more than {MAX_FILE_BYTES:,} bytes; a table of runs has some thousand: name another"
        )
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a CSV file in UTF-8; save the table as plain CSV") from None
    return _parse(text, str(path))


def read_csv(path: Path) -> list[CsvRow]:
    """Return the rows of a CSV file by column name; raise DataError when it can't be read so or has none."""
    return [row for _, row in read_lines(path)]


def read_lines(path: Path) -> list[tuple[int, CsvRow]]:
    """Return the rows of a CSV file, each with its line in the file, as `read_csv` does."""
    return _some_rows(read_sheet(path))


def _parse(text: str, name: str) -> Sheet:
    reader = csv.reader(io.StringIO(text), strict=True)
    lines: list[tuple[int, list[str]]] = []
    started = 1
    try:
        for line in islice(reader, MAX_CELLS + 1):
            if reader.line_num > started:  # a cell over several lines has swallowed rows
                raise csv.Error("a quote isn't closed")
            if any(cell.strip() for cell in line):
                lines.append((started, line))
            started = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name} line {started} is no line of a CSV table: {error}; correct it") from None
    header = [column.strip() for column in lines[0][1]] if lines else []
    if len(header) > MAX_COLUMNS:
        raise DataError(f"{name} has {len(header):,} columns; at most {MAX_COLUMNS} make a table that can be meant")
    if len(header) * len(lines) > MAX_CELLS:
        raise DataError(f"{name} has more than {MAX_CELLS:,} cells; a table of runs has some thousand: name another")
    twice = {column for column in header if column and header.count(column) > 1}
    if twice:
        raise DataError(f"{name} has the column {sorted(twice)[0]!r} twice; rename or remove one")
    return Sheet(name, tuple(header), tuple(lines[1:]))


def _some_rows(sheet: Sheet) -> list[tuple[int, CsvRow]]:
    if not sheet.lines:
        raise DataError(f"{sheet.name} has no rows; it needs a line of column names and at least one line of values")
    return sheet.rows()


def _shipped_sheet(name: str) -> Sheet:
    text = resources.files("headwater.plan.forecast").joinpath("data", name).read_text(encoding="utf-8")
    return _parse(text, name)


def table(name: str, path: Path | None, columns: tuple[str, ...]) -> list[tuple[str, CsvRow]]:
    """Return the rows of the user's table at `path`, or of the one that ships, each with its file and line in words.

    Raises ConfigError when it lacks one of `columns`.
    """
    sheet = _shipped_sheet(name) if path is None else read_sheet(path)
    rows = _some_rows(sheet)
    missing = [column for column in columns if column not in sheet.columns]
    if missing:
        raise ConfigError(f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(columns)}")
    return [(f"{sheet.name} line {line}", row) for line, row in rows]


def number(row: Mapping[str, str], column: str, *, where: str) -> float | None:
    """Return a positive finite number, None where the cell is blank or absent; raise DataError for anything else."""
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{where}: {column}={text!r} is not a number; write it like 124e6 or 3.21") from None
    if not math.isfinite(value) or value <= 0:
        raise DataError(f"{where}: {column}={text} must be a positive number; correct it, or remove the line")
    return value


def required(row: Mapping[str, str], column: str, *, where: str) -> float:
    value = number(row, column, where=where)
    if value is None:
        raise DataError(f"{where}: {column} is needed and blank; fill it in, or remove the line")
    return value
