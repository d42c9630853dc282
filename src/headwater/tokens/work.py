"""The folder in which tokens are made, beside them and removed after they are done.

KEY/SPLIT/SOURCE/shards/00003/         a shard of the store as it will lie there
KEY/SPLIT/SOURCE/pieces/000001250/     documents from number 1,250 on, encoded but in no shard yet

Each appears at once, with the digests of its files: encoding that was killed goes on behind the last piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile, write_arrays
from headwater.files import discard, move_file, remove_folder, remove_leftovers
from headwater.outputs import Output, is_whole, new_output, read_output
from headwater.tokens.write import EncodedDocument, document_names, write_shard

_KEY_CHARACTERS = 16
_ARRAYS = "arrays.bin"


def _work_folder(tokens_dir: Path) -> Path:
    return tokens_dir.with_name(f".{tokens_dir.name}-work")


def begin_work(tokens_dir: Path, key: str) -> Path:
    """Return the folder in which the tokens of this key are made; the work on others is removed."""
    folder = _work_folder(tokens_dir) / key.split(":")[-1][:_KEY_CHARACTERS]
    if folder.parent.is_dir():
        for other in folder.parent.iterdir():
            if other != folder:
                remove_folder(other)
    return folder


def end_work(tokens_dir: Path) -> None:
    """Remove all that was made on the way to the tokens."""
    remove_folder(_work_folder(tokens_dir))


@dataclass(frozen=True)
class Piece:
    """Encoded documents from number `first` up to `end`, not included."""

    folder: Path
    first: int
    end: int

    def documents(self, start: int) -> Iterator[EncodedDocument]:
        """Yield its documents from number `start` on; their ids are views of the disk."""
        arrays = ArrayFile(self.folder / _ARRAYS)
        bounds = np.concatenate([[0], np.cumsum(arrays.map("lengths"))]).astype(np.int64)
        ids, sizes = arrays.map("ids"), arrays.map("num_bytes")
        names = [json.loads(line) for line in arrays.map("names").tobytes().split(b"\n") if line]
        for at in range(start - self.first, self.end - self.first):
            yield EncodedDocument(ids[bounds[at] : bounds[at + 1]], int(sizes[at]), names[at])


class SourceWork:
    """The work on the store of one split of one source. What an earlier process left is verified."""

    def __init__(self, folder: Path) -> None:
        self._shards, self._pieces = folder / "shards", folder / "pieces"
        for inner in (self._shards, self._pieces):
            remove_leftovers(inner)
            for path in sorted(inner.iterdir()) if inner.is_dir() else []:
                if not is_whole(path):
                    remove_folder(path)

    def shards(self) -> list[dict[str, Any]]:
        """Return the manifest's entries of the shards that are done, up to the first that is missing."""
        found = list[dict[str, Any]]()
        while (folder := self._shard(len(found))).is_dir():
            found.append(read_output(folder).facts)
        return found

    def _shard(self, number: int) -> Path:
        return self._shards / f"{number:05d}"

    def write_shard(self, number: int, documents: Sequence[EncodedDocument], vocab_size: int) -> dict[str, Any]:
        """Write a shard in place of a later one of a broken row, if there is one, and return its entry."""
        remove_folder(self._shard(number))
        with new_output(self._shard(number), Output) as output:
            output.facts = write_shard(output.folder, number, documents, vocab_size)
            name = output.facts["name"]
            output.digests = {f"{name}.{kind}": facts["digest"] for kind, facts in output.facts["files"].items()}
        return output.facts

    def files(self) -> list[Path]:
        """Return the files of all shards that are done."""
        outputs = [read_output(folder) for folder in sorted(self._shards.iterdir())] if self._shards.is_dir() else []
        return [output.folder / name for output in outputs for name in output.digests]

    def move_shards(self, folder: Path) -> None:
        """Move the files of all shards into the folder of the store, which `new_folder` yielded."""
        for path in self.files():
            move_file(path, folder / path.name)

    def pieces(self) -> list[Piece]:
        """Return the pieces in the order of their documents."""
        outputs = [read_output(folder) for folder in sorted(self._pieces.iterdir())] if self._pieces.is_dir() else []
        return [_piece(output) for output in outputs]

    def write_piece(self, first: int, documents: Sequence[EncodedDocument]) -> Piece:
        """Write encoded documents, of which the first has number `first`."""
        with new_output(self._pieces / f"{first:09d}", Output) as output:
            arrays = {
                "ids": np.concatenate([np.asarray(document.ids) for document in documents]),
                "lengths": np.array([len(document.ids) for document in documents], dtype="<u8"),
                "num_bytes": np.array([document.num_bytes for document in documents], dtype="<u8"),
                "names": np.frombuffer(document_names(documents), dtype="u1"),
            }
            output.digests = {_ARRAYS: write_arrays(output.folder / _ARRAYS, arrays)}
            output.facts = {"first": first, "end": first + len(documents)}
        return Piece(self._pieces / f"{first:09d}", first, first + len(documents))

    def forget_pieces(self, before: int) -> None:
        """Remove the pieces whose documents all come before number `before`."""
        for piece in self.pieces():
            if piece.end <= before:
                discard(piece.folder)  # whatever is left of it is no whole piece


def _piece(output: Output) -> Piece:
    return Piece(output.folder, output.facts["first"], output.facts["end"])
