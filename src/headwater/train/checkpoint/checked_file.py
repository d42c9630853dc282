"""A file with a checksum for each of its blocks, so that a part of it can be read and proved without the rest."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xxhash

from headwater.core.errors import CheckpointError
from headwater.core.files import DigestedFile, digest_bytes
from headwater.train.checkpoint.layout import sums_file
from headwater.train.checkpoint.tensor_file import TensorEntry, read_header
from headwater.train.checkpoint.verify import digest_of, read_errors

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
