"""What a GGUF file says of itself, walked through before the package that reads it: that takes any length on trust."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from headwater.errors import ConfigError

MAX_STRING = 1 << 24  # bytes: a chat template has thousands
MAX_ITEMS = 8_000_000  # keys, tensors and what lists hold together: tokens, types and merges of a large vocabulary
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY = 8, 9


def require_sound(path: Path) -> None:
    """Raise ConfigError where the header of a file isn't GGUF's, or claims more than the file or a model has."""
    try:
        with open(path, "rb") as file:
            _Header(file, path.stat().st_size).walk()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, struct.error) as error:
        raise ConfigError(f"{path} is no whole GGUF file: {error}") from None


class _Header:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._left = file, size, MAX_ITEMS

    def walk(self) -> None:
        magic, version, num_tensors, num_keys = struct.unpack("<4sIQQ", self._file.read(24))
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("it doesn't begin as one of version 2 or 3, little-endian")
        for _ in range(self._counted(num_keys)):
            self._skip_values(_STRING, 1)
            self._skip_values(self._number("<I"), 1)
        for _ in range(self._counted(num_tensors)):
            self._skip_values(_STRING, 1)
            self._skip(8 * self._counted(self._number("<I")) + 12)  # sizes; type and place

    def _skip_values(self, kind: int, num: int, in_array: bool = False) -> None:
        if kind == _STRING:
            for _ in range(num):
                self._skip(self._number("<Q"), MAX_STRING)
        elif kind == _ARRAY and not in_array:
            self._skip_values(self._number("<I"), self._counted(self._number("<Q")), in_array=True)
        elif kind in _SIZES:
            self._skip(num * _SIZES[kind])
        else:
            raise ValueError(f"a value is of kind {kind}, which isn't read")

    def _counted(self, num: int) -> int:
        self._left -= num
        if self._left < 0:
            raise ValueError(f"keys and lists have more than {MAX_ITEMS:,} values")
        return num

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._file.read(struct.calcsize(form)))[0])

    def _skip(self, num: int, most: float = float("inf")) -> None:
        if num > most:
            raise ValueError(f"a text of {num:,} bytes is more than {most:,}")
        if self._file.tell() + num > self._size:
            raise ValueError("it ends within its header")
        self._file.seek(num, 1)
