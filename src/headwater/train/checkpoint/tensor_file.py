"""Tensors as a safetensors file, written tensor by tensor and read in parts: no copy of all of them is made in memory.
In a checkpoint each block of such a file has a checksum.

The bytes are those of safetensors' own writer. That one and its reader take a file's name and not a file: then nothing
could digest what is written, let a test fail it, or check just what is read.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
import xxhash
from torch import Tensor

from headwater.core.errors import CheckpointError
from headwater.core.files import DigestedFile, digest_bytes
from headwater.core.manifests import is_count
from headwater.train.checkpoint.layout import sums_file
from headwater.train.checkpoint.verify import digest_of, read_errors

# in the order in which safetensors' writer puts tensors: wide and aligned ones first
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES)}


class Writable(Protocol):
    def write(self, data: bytes | memoryview, /) -> object: ...


def write_tensors(
    file: Writable,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    value_of: Callable[[str], Tensor] | None = None,
) -> None:
    """Write 8 bytes of the header's length, the header as JSON, and every tensor's bytes, little-endian.

    Tensors may be on any device and of any strides; each is copied to the CPU by itself. Where `value_of` is given,
    `tensors` have only dtypes and shapes, and each one's values are what it returns when their turn comes.
    """
    names = sorted(tensors, key=lambda name: (-_RANK[tensors[name].dtype], name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors begin at a multiple of 8
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(_bytes(tensors[name] if value_of is None else value_of(name)))


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


READ_BYTES = 1 << 22  # what is read of a tensor at a time, in whole rows
_DTYPE_NAMED = {name: dtype for dtype, name in DTYPES.items()}


class Readable(Protocol):
    num_bytes: int

    def read(self, start: int, num_bytes: int, /) -> memoryview: ...


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of a file: its dtype, its shape, and the byte at which it begins."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int


def read_header(file: Readable) -> dict[str, TensorEntry]:
    """Return the tensors of a safetensors file by name; raise ValueError for what is no such file."""
    if file.num_bytes < 8:
        raise ValueError(f"it has {file.num_bytes} bytes")
    length = int.from_bytes(file.read(0, 8), "little")
    if length > file.num_bytes - 8:
        raise ValueError(f"its header would have {length:,} bytes")
    try:
        header = json.loads(bytes(file.read(8, length)))
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    return {name: _entry(name, facts, 8 + length, file.num_bytes) for name, facts in header.items()}


def _entry(name: str, facts: Any, data_start: int, num_bytes: int) -> TensorEntry:
    try:
        dtype, shape, (start, end) = _DTYPE_NAMED[facts["dtype"]], facts["shape"], facts["data_offsets"]
        has_counts = all(map(is_count, [*shape, start, end]))
    except (KeyError, TypeError, ValueError):
        has_counts = False
    if not has_counts or end - start != prod(shape) * dtype.itemsize or data_start + end > num_bytes:
        raise ValueError(f"what its header says of {name!r:.100} can't be")
    return TensorEntry(dtype, tuple(shape), data_start + start)


def copy_box_(target: Tensor, file: Readable, entry: TensorEntry, offsets: Sequence[int]) -> None:
    """Fill `target` with the box of its shape that lies at `offsets` in a tensor of a file; only its rows are read."""
    if target.dim() == 0:
        target, entry, offsets = target.view(1), TensorEntry(entry.dtype, (1,), entry.start), (0,)
    row_bytes = prod(entry.shape[1:]) * entry.dtype.itemsize
    num_rows = max(1, READ_BYTES // max(1, row_bytes))
    for first in range(0, target.shape[0] if target.numel() else 0, num_rows):
        part = target[first : first + num_rows]
        data = file.read(entry.start + (offsets[0] + first) * row_bytes, part.shape[0] * row_bytes)
        rows = torch.frombuffer(data, dtype=entry.dtype).view(part.shape[0], *entry.shape[1:])
        for dimension in range(1, part.dim()):
            rows = rows.narrow(dimension, offsets[dimension], part.shape[dimension])
        part.copy_(rows)


# ---- with a checksum for each block, so that a part can be read and proved without the rest

BLOCK_BYTES = 1 << 16  # a rank that needs a few megabytes of a tensor reads at most two blocks more


class SummedFile(DigestedFile):
    """A DigestedFile that also sums up each block: xxh3-64 of 64 KiB, the last one shorter."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._sums: list[int] = []
        self._block, self._in_block = xxhash.xxh3_64(), 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        super().write(view)
        for start in range(-self._in_block, len(view), BLOCK_BYTES):
            part = view[max(0, start) : start + BLOCK_BYTES]
            self._block.update(part)
            self._in_block += len(part)
            if self._in_block == BLOCK_BYTES:
                self._end_block()
        return len(view)

    def _end_block(self) -> None:
        self._sums.append(self._block.intdigest())
        self._block, self._in_block = xxhash.xxh3_64(), 0

    def sums(self) -> bytes:
        """Return the checksums of all that was written, 8 bytes each, little-endian; call it once, at the end."""
        if self._in_block:
            self._end_block()
        return np.array(self._sums, dtype="<u8").tobytes()


class CheckedTensors:
    """A safetensors file of a checkpoint, open to be read in parts; each block is compared with its checksum."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        """Raise CheckpointError where the file is missing, of another size than written, or damaged."""
        self.path = path
        self._last_number, self._last_block = -1, b""
        with read_errors(path):
            self._file = io.FileIO(path)
        try:
            self.num_bytes = os.fstat(self._file.fileno()).st_size
            self._sums = self._read_sums(manifest)
            self._entries = read_header(self)
        except ValueError as error:
            self.close()
            raise CheckpointError(f"{path} is no safetensors file, whatever its digest says: {error!s:.200}") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def _read_sums(self, manifest: dict[str, Any]) -> np.ndarray:
        sums_path = sums_file(self.path)
        digest_of(manifest, self.path)  # raises where the manifest doesn't know the file
        digest = digest_of(manifest, sums_path)
        if self.num_bytes != manifest["files"][self.path.name]["bytes"]:
            raise CheckpointError(f"{self.path} is damaged: its size differs from the one in manifest.json")
        with read_errors(sums_path):
            sums = sums_path.read_bytes()
        if digest_bytes(sums) != digest:
            raise CheckpointError(f"{sums_path} is damaged: its digest differs from the one in manifest.json")
        if len(sums) != 8 * -(-self.num_bytes // BLOCK_BYTES):
            raise CheckpointError(f"{sums_path} is damaged: it has not one checksum a block")
        return np.frombuffer(sums, dtype="<u8")

    def read(self, start: int, num_bytes: int) -> memoryview:
        """Return bytes [start, start + num_bytes), which lie within the file; raise CheckpointError for damaged ones.

        Reads in rising order read no block twice.
        """
        first, end = start // BLOCK_BYTES, -(-(start + num_bytes) // BLOCK_BYTES)
        found = bytearray(min(end * BLOCK_BYTES, self.num_bytes) - first * BLOCK_BYTES)
        view = memoryview(found)
        known = 1 if first == self._last_number else 0
        if known:
            found[: len(self._last_block)] = self._last_block
        self._read_into(view[known * BLOCK_BYTES :], (first + known) * BLOCK_BYTES)
        for number in range(first + known, end):
            block = view[(number - first) * BLOCK_BYTES :][:BLOCK_BYTES]
            if xxhash.xxh3_64_intdigest(block) != self._sums[number]:
                raise CheckpointError(f"{self.path} is damaged: block {number} of 64 KiB isn't what was written")
        self._last_number, self._last_block = end - 1, bytes(view[(end - 1 - first) * BLOCK_BYTES :])
        return view[start - first * BLOCK_BYTES :][:num_bytes]

    def _read_into(self, view: memoryview, start: int) -> None:
        self._file.seek(start)
        while view:
            with read_errors(self.path):
                count = self._file.readinto(view)
            if not count:
                raise CheckpointError(f"{self.path} is damaged: it became shorter while it was read")
            view = view[count:]

    def entry_of(self, key: str, dtype: torch.dtype, shape: tuple[int, ...]) -> TensorEntry:
        """Return where a tensor lies; raise CheckpointError unless it is there as the manifest says it is."""
        entry = self._entries.get(key)
        if entry is None:
            raise CheckpointError(f"{self.path} is damaged: it has no tensor {key}, which its manifest.json names")
        if (entry.dtype, entry.shape) != (dtype, shape):
            raise CheckpointError(
                f"{self.path} is damaged: {key} is {entry.dtype} of the shape {list(entry.shape)}, and its "
                f"manifest.json says {dtype} of {list(shape)}"
            )
        return entry
