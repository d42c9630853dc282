"""What a row becomes, how a table is read, and its cells. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headwater.errors import DataError
from headwater.plan.device import Device
from headwater.plan.layout import Layout
from headwater.plan.shape import Shape
from headwater.plan.tables import CsvRow, required

Devices = dict[str, Device]


@dataclass(frozen=True)
class Job:
    """One row: what is trained, on what and how. `assumed` names what the row left out and a rule filled in.

    `device_hours` are those a row reports; energy may be asked for them, time never is.
    """

    name: str
    shape: Shape
    layout: Layout
    device: Device
    assumed: tuple[str, ...] = ()
    tokens: float | None = None
    device_hours: float | None = None
    pue: float | None = None


@dataclass(frozen=True)
class Table:
    """How one kind of table is read: its name, the columns it must have, those that hold results, and its reader."""

    name: str
    needs: tuple[str, ...]
    results: tuple[str, ...]
    read: Callable[[CsvRow, Devices, str], Job]
    old_results: tuple[str, ...] = ()
    "Names that result columns had before, which files that circulate still have."

    def results_in(self, columns: Iterable[str]) -> list[str]:
        """Return all columns of results by their present names, then those of `columns` that go by an old one."""
        return [*self.results, *(name for name in columns if name in self.old_results)]


def whole(row: CsvRow, column: str, where: str) -> int:
    value = required(row, column, where=where)
    if value != int(value):
        raise DataError(f"{where}: {column}={row[column]} must be a whole number")
    return int(value)


def whole_or(row: CsvRow, column: str, default: int, where: str) -> int:
    return whole(row, column, where) if (row.get(column) or "").strip() else default


def maybe_whole(row: CsvRow, column: str, where: str) -> int | None:
    return whole(row, column, where) if (row.get(column) or "").strip() else None
