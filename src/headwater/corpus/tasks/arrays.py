"""Named numpy arrays in one file: what tasks hand to each other, read a slice at a time."""

from __future__ import annotations

import json
import mmap
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
    """A file of arrays, opened; it is closed when nothing looks at it any more."""

    def __init__(self, path: Path) -> None:
        try:
            with open(path, "rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            size = int.from_bytes(self._bytes[:8], "little")
            self._places: dict[str, tuple[str, int, int]] = json.loads(self._bytes[8 : 8 + size])
        except (OSError, ValueError) as error:
            raise DataError(f"{path} can't be read ({error}); remove its folder and build the corpus again") from error
        self._start = 8 + size

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def map(self, name: str) -> np.ndarray:
        """Return a read-only view of an array: what isn't looked at is never read."""
        dtype, at, count = self._places[name]
        return np.frombuffer(self._bytes, dtype=dtype, count=count, offset=self._start + at)
