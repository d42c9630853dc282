"""What a row becomes, how a table is read, and its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headwater.errors import DataError
from headwater.forecast.device import Device
from headwater.forecast.layout import Layout
from headwater.forecast.transformer import Transformer
from headwater.tables import CsvRow, number, required

Devices = dict[str, Device]


@dataclass(frozen=True)
class Job:
    """One row: what is trained, on what and how. `assumed` names what the row omits and a rule filled in."""

    name: str
    shape: Transformer
    layout: Layout
    device: Device
    assumed: tuple[str, ...] = ()
    tokens: float | None = None
    pue: float | None = None


@dataclass(frozen=True)
class Table:
    """How one kind of table is read: its name, the columns it must have, those that hold results, and its reader."""

    name: str
    needs: tuple[str, ...]
    results: tuple[str, ...]
    read: Callable[[CsvRow, Devices, str], Job]


def pue_of(row: CsvRow, where: str) -> float | None:
    """Return the energy of a row's data centre over its computers', None where it isn't said."""
    pue = number(row, "pue", where=where)
    if pue is not None and pue < 1:
        raise DataError(f"{where}: pue={pue:g} is below 1, which is a data centre that uses less than its computers")
    return pue


def whole(row: CsvRow, column: str, where: str) -> int:
    value = required(row, column, where=where)
    if value != int(value):
        raise DataError(f"{where}: {column}={row[column]} must be a whole number")
    return int(value)


def whole_or(row: CsvRow, column: str, default: int, where: str) -> int:
    return whole(row, column, where) if (row.get(column) or "").strip() else default


def maybe_whole(row: CsvRow, column: str, where: str) -> int | None:
    return whole(row, column, where) if (row.get(column) or "").strip() else None
