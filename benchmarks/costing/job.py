"""What a row becomes, how a table is read, and its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from costing.device import Device
from costing.layout import Layout
from costing.transformer import Transformer
from headwater.core.errors import DataError
from headwater.core.tables import CsvRow, required

Devices = dict[str, Device]


@dataclass(frozen=True)
class Job:
    """One row with a layout: what is trained, on what and how."""

    name: str
    shape: Transformer
    layout: Layout
    device: Device


@dataclass(frozen=True)
class WholeRun:
    """One row of a whole run, whose layout is seldom stated; of a mixture of experts `params` are the active ones."""

    name: str
    device: Device
    params: float
    tokens: float | None
    pue: float | None


@dataclass(frozen=True)
class Table:
    """How one kind of table is read: its name, the columns it must have, those that hold results, and its reader."""

    name: str
    needs: tuple[str, ...]
    results: tuple[str, ...]
    read: Callable[[CsvRow, Devices, str], Job | WholeRun]


def whole(row: CsvRow, column: str, where: str) -> int:
    value = required(row, column, where=where)
    if value != int(value):
        raise DataError(f"{where}: {column}={row[column]} must be a whole number")
    return int(value)


def whole_or(row: CsvRow, column: str, default: int, where: str) -> int:
    return whole(row, column, where) if (row.get(column) or "").strip() else default


def maybe_whole(row: CsvRow, column: str, where: str) -> int | None:
    return whole(row, column, where) if (row.get(column) or "").strip() else None
