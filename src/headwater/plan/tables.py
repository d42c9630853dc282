"""Tables that ship with headwater and that a user can replace: CSV files, every row with its source. No torch."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from headwater.errors import ConfigError, DataError

CsvRow = dict[str, str]


def read_csv(path: Path) -> list[CsvRow]:
    """Return the rows of a CSV file by column name, blank where a line is short.

    Raises DataError when it can't be read, has no header or no row, or when a line has more cells than the header.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; name a CSV file") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> list[CsvRow]:
    try:
        lines = [
            line for line in csv.reader(text.splitlines(keepends=True), strict=True) if any(c.strip() for c in line)
        ]
    except csv.Error as error:
        raise DataError(f"{name} is not a CSV table: {error}") from None
    if len(lines) < 2:
        raise DataError(f"{name} has no rows; it needs a line of column names and at least one line of values")
    header = [column.strip() for column in lines[0]]
    twice = {column for column in header if header.count(column) > 1}
    if twice:
        raise DataError(f"{name} has the column {sorted(twice)[0]!r} twice")
    for number, line in enumerate(lines[1:], 2):
        if len(line) > len(header):
            raise DataError(
                f"{name}, row {number}: {len(line)} cells and {len(header)} columns; quote cells with commas"
            )
    return [dict(zip(header, [*line, *[""] * (len(header) - len(line))], strict=True)) for line in lines[1:]]


def shipped(name: str) -> list[CsvRow]:
    """Return the rows of a table in `plan/data`."""
    return _parse(resources.files("headwater.plan").joinpath("data", name).read_text(encoding="utf-8"), name)


def table(name: str, path: Path | None, columns: tuple[str, ...]) -> list[CsvRow]:
    """Return the user's table at `path`, or the one that ships; raise ConfigError when it lacks one of `columns`."""
    rows = shipped(name) if path is None else read_csv(path)
    missing = [column for column in columns if column not in rows[0]]
    if missing:
        raise ConfigError(f"{path} lacks the columns {', '.join(missing)}; it needs {', '.join(columns)}")
    return rows


def number(row: Mapping[str, str], column: str, *, where: str) -> float | None:
    """Return a positive finite number, None where the cell is blank or absent; raise DataError for anything else."""
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{where}: {column}={text!r} is not a number") from None
    if not math.isfinite(value) or value <= 0:
        raise DataError(f"{where}: {column}={text} must be a positive number")
    return value


def required(row: Mapping[str, str], column: str, *, where: str) -> float:
    value = number(row, column, where=where)
    if value is None:
        raise DataError(f"{where}: {column} is needed and blank")
    return value
