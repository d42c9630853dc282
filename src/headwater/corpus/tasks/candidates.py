"""Documents that passed the filters, on disk until it is known which stay: compressed, in order, read by number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from headwater.corpus.tasks.arrays import ArrayFile, write_arrays
from headwater.errors import DataError
from headwater.files import DigestedFile

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

    def __len__(self) -> int:
        return int(self._firsts[-1])

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

    def __init__(self, folder_of: Callable[[int], Path], part_starts: np.ndarray) -> None:
        """`part_starts` are the numbers of the first document of each part, and the end of the last."""
        self._folder_of = folder_of
        self._part_starts = part_starts
        self._readers: OrderedDict[int, CandidateReader] = OrderedDict()
        self._blocks: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    def line(self, number: int) -> bytes:
        part = int(np.searchsorted(self._part_starts, number, side="right")) - 1
        reader = _kept(self._readers, part, lambda: CandidateReader(self._folder_of(part)), _OPEN_READERS)
        block, at = reader.place_of(number - int(self._part_starts[part]))
        return _kept(self._blocks, (part, block), lambda: reader.read_block(block), _CACHED_BLOCKS)[at]


def _kept(values: OrderedDict[Any, Any], key: Any, make: Callable[[], Any], limit: int) -> Any:
    """Return values[key], made where it is missing; the least recently used one makes room."""
    if key in values:
        values.move_to_end(key)
        return values[key]
    values[key] = value = make()
    if len(values) > limit:
        values.popitem(last=False)
    return value
