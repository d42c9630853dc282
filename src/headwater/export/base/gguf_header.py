"""What a GGUF file says of itself, written and read: its keys, and where its tensors are.

Nothing that is read is believed before it is known to fit.

The package `gguf` takes any length on trust, and a map of the file for each of 100,000 strings: eleven seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from headwater.core.errors import ConfigError

MAX_STRING = 1 << 24  # bytes: a chat template has thousands
MAX_ITEMS = 8_000_000  # keys, tensors and what lists hold together: tokens, types and merges of a large vocabulary
ALIGNMENT = 32  # bytes, where no key says another
HEAD_DIM_KEYS = ("attention.value_length", "rope.dimension_count")
"Keys that say of our models what attention.key_length does."
Value = bool | int | float | str | list[int] | list[str]
_FORMS = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
_BOOL, _INT, _FLOAT, _SIGNED, _STRING, _ARRAY = 7, 4, 6, 5, 8, 9
_ALIGNMENT = "general.alignment"


@dataclass(frozen=True)
class TensorPlace:
    """A tensor of a file: its sizes, the last one first as in the file; the number of its type; its first byte."""

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True)
class Header:
    keys: dict[str, Any]
    tensors: dict[str, TensorPlace]


def read_header(path: Path) -> Header:
    """Return a file's header; raise ConfigError if it isn't GGUF's, or claims more than the file or a model has."""
    try:
        with open(path, "rb") as file:
            return _Reader(file, path.stat().st_size).header()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, struct.error) as error:
        raise ConfigError(f"{path} is no whole GGUF file: {error}") from None


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._left = file, size, MAX_ITEMS

    def header(self) -> Header:
        magic, version, num_tensors, num_keys = struct.unpack("<4sIQQ", self._file.read(24))
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("it doesn't begin as one of version 2 or 3, little-endian")
        keys: dict[str, Any] = {}
        for _ in range(self._counted(num_keys)):
            name = self._new(keys)
            (keys[name],) = self._values(self._number("I"), 1)
        places: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(self._counted(num_tensors)):
            name = self._new(places)
            num_sizes = self._counted(self._number("I"))
            shape = struct.unpack(f"<{num_sizes}Q", self._bytes(8 * num_sizes))
            places[name] = shape, self._number("I"), self._number("Q")
        step = keys.get(_ALIGNMENT, ALIGNMENT)
        if not isinstance(step, int) or step < 1:
            raise ValueError(f"its {_ALIGNMENT} is {step!r:.40}")
        first = -(-self._file.tell() // step) * step
        return Header(keys, {name: TensorPlace(sh, kind, first + start) for name, (sh, kind, start) in places.items()})

    def _new(self, known: dict[str, Any]) -> str:
        (name,) = self._values(_STRING, 1)
        if name in known:
            raise ValueError(f"it has {name!r:.100} twice")
        return str(name)

    def _values(self, kind: int, num: int, in_array: bool = False) -> list[Any]:
        if kind == _STRING:
            return [self._bytes(self._number("Q"), MAX_STRING).decode() for _ in range(num)]
        if kind == _ARRAY and not in_array:
            return [self._values(self._number("I"), self._counted(self._number("Q")), in_array=True)]
        if kind not in _FORMS:
            raise ValueError(f"a value is of kind {kind}, which isn't read")
        form = f"<{num}{_FORMS[kind]}"
        return list(struct.unpack(form, self._bytes(struct.calcsize(form))))

    def _counted(self, num: int) -> int:
        self._left -= num
        if self._left < 0:
            raise ValueError(f"keys and lists have more than {MAX_ITEMS:,} values")
        return num

    def _number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self._bytes(struct.calcsize(form)))[0])

    def _bytes(self, num: int, most: float = float("inf")) -> bytes:
        if num > most:
            raise ValueError(f"a text of {num:,} bytes is more than {most:,}")
        if self._file.tell() + num > self._size:
            raise ValueError("it ends within its header")
        return self._file.read(num)


def written_header(keys: Mapping[str, Value], tensors: Mapping[str, tuple[tuple[int, ...], int, int]]) -> bytes:
    """Return all before the tensors, little-endian: version 3; of each tensor (sizes, number of its type, bytes)."""
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))]
    parts += [_string(key) + _typed(value) for key, value in keys.items()]
    offset = 0
    for name, (shape, kind, num_bytes) in tensors.items():
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        parts += [_string(name), sizes, struct.pack("<IQ", kind, offset)]
        offset += num_bytes + len(padding(num_bytes))
    header = b"".join(parts)
    return header + padding(len(header))


def padding(num_bytes: int) -> bytes:
    return b"\0" * (-num_bytes % ALIGNMENT)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _typed(value: Value) -> bytes:
    """Return the number of a value's type, and the value."""
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, list):
        items = [_string(item) if isinstance(item, str) else struct.pack("<i", item) for item in value]
        # whole numbers have a sign here, as types of tokens must; none but merges can be empty, and those are strings
        kind = _SIGNED if value and isinstance(value[0], int) else _STRING
        return struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)
    kind = _BOOL if isinstance(value, bool) else _INT if isinstance(value, int) else _FLOAT
    return struct.pack(f"<I{_FORMS[kind]}", kind, value)
