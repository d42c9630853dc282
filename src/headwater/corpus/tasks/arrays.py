"""Named numpy arrays in one file: what tasks hand to each other, read a slice at a time.

A table is an array of records that are sorted by their first field, of 64 bits. A range of it is found by reading a
few rows, and lies together on disk.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Stream:
    """An array that is written a piece at a time; how many rows the pieces have together is known beforehand."""

    dtype: np.dtype
    num_rows: int
    pieces: Iterable[np.ndarray]


def differs_from_before(*columns: np.ndarray) -> np.ndarray:
    """Return which rows of sorted columns differ from the row before; the first does."""
    is_new = np.ones(len(columns[0]), dtype=bool)
    is_new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return is_new


def together(pieces: Iterable[np.ndarray], most_waiting: Callable[[], int]) -> Iterator[np.ndarray]:
    """Yield pieces, whose last axis are rows, joined: each time that more wait than `most_waiting` says."""
    waiting, num_rows = list[np.ndarray](), 0
    for piece in pieces:
        waiting.append(piece)
        num_rows += piece.shape[-1]
        if num_rows > most_waiting():
            joined, waiting, num_rows = np.concatenate(waiting, axis=-1), [], 0
            yield joined  # the pieces aren't held beside it
    if waiting:
        yield np.concatenate(waiting, axis=-1)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> str:
    """Write the arrays, each of one dimension, to a new file inside an unfinished folder; return its digest."""
    return write_streams(path, {name: Stream(array.dtype, len(array), [array]) for name, array in arrays.items()})


def write_streams(path: Path, streams: dict[str, Stream]) -> str:
    """Write arrays as `write_arrays` does, one after another, without holding one of them; return the digest."""
    places, at = {}, 0
    for name, stream in streams.items():
        num_bytes = stream.num_rows * stream.dtype.itemsize
        places[name] = [np.lib.format.dtype_to_descr(stream.dtype.newbyteorder("<")), at, stream.num_rows]
        at += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps(places).encode()
    header += b" " * (-(len(header) + 8) % _ALIGNMENT)
    with DigestedFile(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for stream in streams.values():
            _write_pieces(file, stream)
        return file.digest


def _write_pieces(file: DigestedFile, stream: Stream) -> None:
    dtype, num_rows = stream.dtype.newbyteorder("<"), 0
    for piece in stream.pieces:
        if len(piece):
            file.write(np.ascontiguousarray(piece).astype(dtype, copy=False).view(np.uint8).data)
            num_rows += len(piece)
    assert num_rows == stream.num_rows, f"{num_rows} rows came, {stream.num_rows} were announced"
    file.write(b"\0" * (-num_rows * dtype.itemsize % _ALIGNMENT))


class ArrayFile:
    """A file of arrays. What is returned is a read-only view of the disk: what isn't looked at is never read.

    It holds no file open but as long as a view is in use, so that many may be at hand. Raises DataError for a file that
    isn't as long as its header says.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with open(path, "rb") as file:
                size, num_bytes = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
                if size > num_bytes:
                    raise ValueError("it is damaged or cut off")
                places = json.loads(file.read(size))
            self._places: dict[str, tuple[np.dtype, int, int]] = {
                name: (np.lib.format.descr_to_dtype(described), 8 + size + at, num_rows)
                for name, (described, at, num_rows) in places.items()
            }
            # else a search in a table would find nothing there, and say so
            end = max((at + num_rows * dtype.itemsize for dtype, at, num_rows in self._places.values()), default=0)
            if end > num_bytes:
                raise ValueError(f"it is cut off: its arrays end at byte {end:,}, the file at {num_bytes:,}")
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise self._unreadable(error) from error

    @property
    def tables(self) -> list[str]:
        """The names of the arrays that are tables."""
        return [name for name, (dtype, _, _) in self._places.items() if dtype.names]

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def dtype(self, name: str) -> np.dtype:
        return self._places[name][0]

    def num_rows(self, name: str) -> int:
        return self._places[name][2]

    def map(self, name: str, start: int = 0, end: int | None = None) -> np.ndarray:
        """Return rows `start` to `end` (not included) of an array, by default all."""
        dtype, at, num_rows = self._places[name]
        end = num_rows if end is None else min(end, num_rows)
        if start >= end:
            return np.empty(0, dtype)
        try:
            with open(self._path, "rb") as file:
                rows = np.memmap(file, dtype, "r", at + start * dtype.itemsize, (end - start,))
                return rows.view(np.ndarray)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def between(self, name: str, low: int, high: int) -> np.ndarray:
        """Return the rows of a table whose first field is at least `low` and below `high`."""
        rows = self.map(name)
        keys = rows[(self.dtype(name).names or ())[0]]
        start = bisect_left(keys, low)
        return rows[start : bisect_left(keys, high, lo=start)]

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"{self._path} can't be read ({error}); remove its folder and build the corpus again")
