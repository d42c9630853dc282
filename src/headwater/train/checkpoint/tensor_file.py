"""Tensors as a safetensors file, written tensor by tensor and read in parts: no copy of all of them is made in memory.

The bytes are those of safetensors' own writer. That one and its reader take a file's name and not a file: then nothing
could digest what is written, let a test fail it, or check just what is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor

from headwater.core.manifests import is_count

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
