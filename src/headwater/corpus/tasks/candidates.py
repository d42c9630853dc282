"""Documents that passed the filters, on disk until it is known which stay: compressed, in order, read by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile
from headwater.corpus.tasks.arrays import ArrayFile, write_arrays

BLOCK_BYTES = 1 << 17  # compresses as well as a large file does, and one document of it is read in 0.2 ms
_BLOCKS, _INDEX = "candidates.bin", "candidates.idx"
_CACHED_BLOCKS, _OPEN_READERS = 64, 64


class CandidateWriter:
    """Writes lines to `folder`, which isn't committed yet; `digests` has those of the files once it is closed."""

    def __init__(self, folder: Path) -> None:
        self.digests: dict[str, str] = {}
        self._folder = folder
        self._file = DigestedFile(folder / _BLOCKS)
        self._codec = pa.Codec("zstd", compression_level=1)
        self._lines: list[bytes] = []
        self._num_bytes = 0
        self._starts, self._sizes, self._sums, self._firsts = [0], list[int](), list[int](), [0]

    def add(self, line: bytes) -> None:
        """Append a line that ends in a newline and has no other."""
        self._lines.append(line)
        self._num_bytes += len(line)
        if self._num_bytes >= BLOCK_BYTES:
            self._end_block()

    def _end_block(self) -> None:
        block = b"".join(self._lines)
        compressed = self._codec.compress(block, asbytes=True)
        self._file.write(compressed)
        self._starts.append(self._starts[-1] + len(compressed))
        self._sizes.append(len(block))
        self._sums.append(xxhash.xxh3_64_intdigest(block))
        self._firsts.append(self._firsts[-1] + len(self._lines))
        self._lines, self._num_bytes = [], 0

    def close(self) -> None:
        if self._lines:
            self._end_block()
        self._file.close()
        columns = {"starts": self._starts, "sizes": self._sizes, "sums": self._sums, "firsts": self._firsts}
        arrays = {name: np.array(values, dtype=np.uint64) for name, values in columns.items()}
        self.digests = {_BLOCKS: self._file.digest, _INDEX: write_arrays(self._folder / _INDEX, arrays)}

    def __enter__(self) -> CandidateWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()


class CandidateReader:
    """Reads lines, in order or by number. A block that isn't what was written is a DataError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _BLOCKS
        index = ArrayFile(folder / _INDEX)
        self._starts, self._sizes, self._firsts = (
            index.map(name).astype(np.int64) for name in ("starts", "sizes", "firsts")
        )
        self._sums = index.map("sums").copy()
        self._codec = pa.Codec("zstd")

    def __iter__(self) -> Iterator[bytes]:
        for block in range(len(self._sizes)):
            yield from self.read_block(block)

    def place_of(self, number: int) -> tuple[int, int]:
        """Return the block that a line is in, and its place among the lines there."""
        block = int(np.searchsorted(self._firsts, number, side="right")) - 1
        return block, number - int(self._firsts[block])

    def read_block(self, block: int) -> list[bytes]:
        start, end = int(self._starts[block]), int(self._starts[block + 1])
        try:
            with open(self._path, "rb") as file:
                file.seek(start)
                text = self._codec.decompress(file.read(end - start), int(self._sizes[block]), asbytes=True)
        except OSError as error:
            raise self._damaged(f"can't be read ({error})") from error
        if xxhash.xxh3_64_intdigest(text) != int(self._sums[block]):
            raise self._damaged("is damaged: a block differs from what was written")
        return text.splitlines(keepends=True)

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self._path} {what}; remove its folder and build the corpus again")


class CandidateTexts:
    """The candidates of all parts, read by number in any order; the blocks and files used last are kept at hand."""

    def __init__(self, folder_of: Callable[[int], Path], part_bounds: np.ndarray) -> None:
        """`part_bounds` are the numbers of the first document of each part, and the end of the last."""
        self._part_bounds = part_bounds
        # no methods: files would stay open until a cycle is collected
        reader_of = lru_cache(_OPEN_READERS)(lambda part: CandidateReader(folder_of(part)))
        self._reader_of = reader_of
        self._block = lru_cache(_CACHED_BLOCKS)(lambda part, block: reader_of(part).read_block(block))

    def line(self, number: int) -> bytes:
        part = int(np.searchsorted(self._part_bounds, number, side="right")) - 1
        block, at = self._reader_of(part).place_of(number - int(self._part_bounds[part]))
        return self._block(part, block)[at]
