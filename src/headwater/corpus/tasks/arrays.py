"""Named numpy arrays in one file: what tasks hand to each other, read a slice at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from headwater.errors import DataError
from headwater.files import DigestedFile

_ALIGNMENT = 64


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> str:
    """Write the arrays, each of one dimension, to a new file inside an unfinished folder; return its digest."""
    places, at = {}, 0
    for name, array in arrays.items():
        places[name] = [str(array.dtype.newbyteorder("<").str), at, len(array)]
        at += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps(places).encode()
    header += b" " * (-(len(header) + 8) % _ALIGNMENT)
    with DigestedFile(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).data.cast("B"))
            file.write(b"\0" * (-array.nbytes % _ALIGNMENT))
        return file.digest


class ArrayFile:
    """A file of arrays, opened: `map` looks at one without reading it, and nothing is held once the views are gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with open(path, "rb") as file:
                size = int.from_bytes(file.read(8), "little")
                self._places: dict[str, tuple[str, int, int]] = json.loads(file.read(size))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} can't be read ({error}); remove its folder and build the corpus again") from error
        self._start = 8 + size

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def map(self, name: str) -> np.ndarray:
        """Return a read-only view of an array on disk."""
        dtype, at, count = self._places[name]
        if count == 0:
            return np.empty(0, dtype=dtype)
        return np.memmap(self._path, dtype=dtype, mode="r", offset=self._start + at, shape=(count,)).view(np.ndarray)
