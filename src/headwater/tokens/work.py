"""The folder in which tokens are made, beside them and removed after they are done.

KEY/SPLIT/SOURCE/shards/00003/         a shard of the store as it will lie there
KEY/SPLIT/SOURCE/pieces/000001250/     documents from number 1,250 on, encoded but in no shard yet

Each appears whole, with the digests of its files: encoding that was killed resumes behind the last piece. Shards alone
would not do: one holds 67 million tokens, a whole small source. Nothing is flushed before the end; what a power cut
damages is found by its digest and encoded again. The store gets its files as hard links, so that a failed commit costs
no encoding. A process that was taken over may still write here, the same bytes; the other one replaces them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import StorageError, storage_errors
from headwater.core.files import DigestedFile, discard, flush, remove_folder, share_file
from headwater.core.task_output import TASK_FILE, TaskOutput, new_output, read_output, remove_damaged
from headwater.tokens.tokenizer.settings import Markers
from headwater.tokens.write import EncodedDocument, document_names, write_shard

LAYOUT = "2"  # raise it when pieces or shards are laid out differently: work that an older version began is removed


@dataclass(frozen=True)
class EncodedRange:
    """Encoded documents from number `first` up to `end`, not included."""

    folder: Path
    first: int
    end: int

    def _map(self, name: str, dtype: str) -> np.ndarray:
        path = self.folder / f"{name}.bin"
        return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.empty(0, dtype)

    def documents(self, start: int) -> Iterator[EncodedDocument]:
        """Yield its documents from number `start` on; their ids are views of the disk."""
        arrays = {name: self._map(name, dtype) for name, dtype in read_output(self.folder).facts["dtypes"].items()}
        ids, lengths, sizes = arrays["ids"], arrays["lengths"], arrays["num_bytes"]
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        targets = arrays.get("is_target")
        names = [json.loads(line) for line in arrays["names"].tobytes().split(b"\n") if line]
        for at in range(start - self.first, self.end - self.first):
            own = slice(bounds[at], bounds[at + 1])
            yield EncodedDocument(ids[own], int(sizes[at]), names[at], None if targets is None else targets[own])


class SourceWork:
    """The work on the store of one split of one source. What an earlier process left is verified."""

    def __init__(self, folder: Path, require_owner: Callable[[], None]) -> None:
        """`require_owner` raises where another process has taken the run over: asked before anything is changed."""
        self._shards, self._pieces = folder / "shards", folder / "pieces"
        self._require_owner = require_owner
        require_owner()
        for inner in (self._shards, self._pieces):
            remove_damaged(inner)

    def shards(self) -> list[dict[str, Any]]:
        """Return the manifest's entries of the shards that are done, up to the first that is missing."""
        found = list[dict[str, Any]]()
        while (folder := self._shard(len(found))).is_dir():
            found.append(read_output(folder).facts)
        return found

    def _shard(self, number: int) -> Path:
        return self._shards / f"{number:05d}"

    def write_shard(self, number: int, documents: Sequence[EncodedDocument], vocab_size: int, markers: Markers) -> None:
        """Write a shard, in place of one that is there behind one that was missing."""
        self._require_owner()
        remove_folder(self._shard(number))
        with new_output(self._shard(number), TaskOutput) as output:
            output.facts = write_shard(output.folder, number, documents, vocab_size, markers)
            name = output.facts["name"]
            output.digests = {f"{name}.{kind}": facts["digest"] for kind, facts in output.facts["files"].items()}

    def flush_shards(self, num_shards: int) -> None:
        """Flush the files of the first shards to the device; one that can't be isn't trusted again."""
        for number in range(num_shards):
            paths = self._files(number)
            try:
                with storage_errors(paths[0]):
                    flush(paths)
            except StorageError:
                # the system says it once: asked again, it would call bytes flushed that it has given up
                discard(self._shard(number))
                raise

    def share_shards(self, num_shards: int, folder: Path) -> None:
        """Give the files of the first shards a name in the folder of the store, which `new_folder` yielded."""
        self._require_owner()
        for number in range(num_shards):
            for path in self._files(number):
                share_file(path, folder / path.name)

    def _files(self, number: int) -> list[Path]:
        output = read_output(self._shard(number))
        return [output.folder / name for name in output.digests]

    def pieces(self) -> list[EncodedRange]:
        """Return the pieces in the order of their documents."""
        return sorted((_piece(read_output(folder)) for folder in _outputs(self._pieces)), key=lambda piece: piece.first)

    def write_piece(self, first: int, documents: Sequence[EncodedDocument]) -> EncodedRange:
        """Write encoded documents, of which the first has number `first`."""
        self._require_owner()
        remove_folder(self._pieces / f"{first:09d}")
        with new_output(self._pieces / f"{first:09d}", TaskOutput) as output:
            arrays = {
                "ids": np.concatenate([np.asarray(document.ids) for document in documents]),
                "lengths": np.array([len(document.ids) for document in documents], dtype="<u8"),
                "num_bytes": np.array([document.num_bytes for document in documents], dtype="<u8"),
                "names": np.frombuffer(document_names(documents), dtype="u1"),
            }
            if documents[0].is_target is not None:
                arrays["is_target"] = np.concatenate([np.asarray(each.is_target, dtype="u1") for each in documents])
            for name, values in arrays.items():
                with DigestedFile(output.folder / f"{name}.bin") as file:
                    file.write(np.ascontiguousarray(values))
                output.digests[f"{name}.bin"] = file.digest
            output.facts = {"first": first, "end": first + len(documents)}
            output.facts["dtypes"] = {name: values.dtype.str for name, values in arrays.items()}
        return EncodedRange(self._pieces / f"{first:09d}", first, first + len(documents))

    def forget_pieces(self, before: int) -> None:
        """Remove the pieces whose documents all come before number `before`."""
        self._require_owner()
        for piece in self.pieces():
            if piece.end <= before:
                discard(piece.folder)  # whatever is left of it is no whole piece


def _outputs(folder: Path) -> list[Path]:
    """Return the outputs in a folder; what is left of one that is being removed is none."""
    return [path for path in folder.iterdir() if (path / TASK_FILE).is_file()] if folder.is_dir() else []


def _piece(output: TaskOutput) -> EncodedRange:
    return EncodedRange(output.folder, output.facts["first"], output.facts["end"])
