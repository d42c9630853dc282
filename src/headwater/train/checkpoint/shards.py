"""Who writes which piece of a state, and which saved pieces make up a tensor at another number of ranks.

A piece is a box of a tensor (`model.boxes`). Every rank computes who writes what, and asks nobody.
torch.distributed.checkpoint isn't used: its storage loads flipped bits without a word and runs code from its metadata,
and its planner, which has ranks ask each other, costs each process a second to import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapreplace
from typing import Any

import torch
from torch import Tensor

from headwater.core.files import digest_json
from headwater.machine.parallel.boxes import box_of, is_copied, whole_shape
from headwater.machine.ranks.exchange import Ranks, local
from headwater.train.checkpoint import tensor_file
from headwater.train.checkpoint.layout import MODEL, OPTIM
from headwater.train.checkpoint.tensor_digest import add_digests, tensor_digest

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in tensor_file.DTYPES}
Table = dict[str, dict[str, Any]]
"Of a manifest: {tensor: {dtype, shape, digest, chunks: [{file, offsets, shape}]}}."


@dataclass(frozen=True)
class TensorChunk:
    """A box of a tensor, as one rank writes it; a whole tensor is one piece at offset 0."""

    name: str
    offsets: tuple[int, ...]
    whole_shape: tuple[int, ...]
    tensor: Tensor

    @property
    def kind(self) -> str:
        return self.name.partition(".")[0]

    @property
    def is_whole(self) -> bool:
        return tuple(self.tensor.shape) == self.whole_shape

    @property
    def key(self) -> str:
        return key_of(self.name, self.offsets, is_whole=self.is_whole)


def key_of(name: str, offsets: Iterable[int], *, is_whole: bool) -> str:
    """Return a piece's name within a file: without the kind, which the file's name says."""
    key = name.partition(".")[2]
    return key if is_whole else f"{key}@{','.join(map(str, offsets))}"


def pieces_to_write(model: Mapping[str, Tensor], optim: Mapping[str, Tensor], ranks: Ranks) -> list[TensorChunk]:
    """Return what this rank writes: its share of the weights, which all copies hold, and its own optimizer state.

    Of the ranks that hold the same box of a weight, the one writes it that has the fewest bytes to write so far.
    """
    mesh, rank = ranks.mesh, ranks.rank
    names = [name for name in optim if not is_copied(name, mesh) or mesh.index(rank, "tensor") == 0]
    pieces = [_piece(f"{OPTIM}.{name}", optim[name], ranks) for name in names]
    copies: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for name, tensor in model.items():
        axes = ("replicate", "tensor") if is_copied(name, mesh) else ("replicate",)
        heap = copies.setdefault(axes, [(0, copy) for copy in range(mesh.size(*axes))])
        num_bytes, copy = heap[0]
        heapreplace(heap, (num_bytes + tensor.numel() * tensor.element_size(), copy))
        if copy == mesh.index(rank, *axes):
            pieces.append(_piece(f"{MODEL}.{name}", tensor, ranks))
    return [piece for piece in pieces if piece.tensor.numel() or piece.is_whole]


def _piece(name: str, tensor: Tensor, ranks: Ranks) -> TensorChunk:
    own, offsets, shape = _own_box(name, tensor, ranks)
    return TensorChunk(name, offsets, shape, own.detach())


def _own_box(name: str, tensor: Tensor, ranks: Ranks) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """Return what this rank has of a tensor, in the same memory, where in the whole that lies, and that one's shape."""
    own, shape = local(tensor), whole_shape(name, tensor.shape, ranks.mesh)
    box = box_of(name, shape, ranks.mesh, ranks.rank)
    assert box.shape == tuple(own.shape), f"{name} has {tuple(own.shape)} here, and by the layout {box.shape}"
    return own, box.offsets, shape


def table_of(pieces: Iterable[tuple[TensorChunk, str]]) -> Table:
    """Return the table of one rank's pieces and the files that they lie in."""
    return merged_tables(
        {
            piece.name: {
                "dtype": str(piece.tensor.dtype).removeprefix("torch."),
                "shape": list(piece.whole_shape),
                "digest": tensor_digest(piece.tensor, piece.offsets, piece.whole_shape),
                "chunks": [{"file": file, "offsets": list(piece.offsets), "shape": list(piece.tensor.shape)}],
            }
        }
        for piece, file in pieces
    )


def state_digest(table: Table) -> str:
    """Return a digest of all tensors of a table, the same whatever ranks wrote which part of them."""
    return digest_json({name: [entry["dtype"], entry["shape"], entry["digest"]] for name, entry in table.items()})


def merged_tables(tables: Iterable[Table]) -> Table:
    """Return one table with all chunks of every tensor, by name."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        for name, entry in table.items():
            entries.setdefault(name, []).append(entry)
    return {
        name: parts[0]
        | {
            "digest": add_digests(part["digest"] for part in parts),
            "chunks": [chunk for part in parts for chunk in part["chunks"]],
        }
        for name, parts in sorted(entries.items())
    }


@dataclass(frozen=True)
class Read:
    """A box to fill, the file and its tensor (key, dtype, shape) that have it, and where in that one it begins."""

    target: Tensor
    file: str
    saved: tuple[str, torch.dtype, tuple[int, ...]]
    offsets: tuple[int, ...]


def reads_of(name: str, tensor: Tensor, entry: dict[str, Any], ranks: Ranks) -> Iterator[Read]:
    """Yield what makes up this rank's part of a tensor, by its entry in a table; ValueError if some is missing."""
    own, first, _ = _own_box(name, tensor, ranks)
    num_missing = own.numel()
    for chunk in entry["chunks"]:
        shape, offsets = tuple(chunk["shape"]), tuple(chunk["offsets"])
        begins = [max(pair) for pair in zip(offsets, first, strict=True)]
        ends = [min(a + b, c + d) for a, b, c, d in zip(offsets, shape, first, own.shape, strict=True)]
        if any(begin >= end for begin, end in zip(begins, ends, strict=True)):
            continue
        target = own
        for dimension, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            target = target.narrow(dimension, begin - first[dimension], end - begin)
        key = key_of(name, offsets, is_whole=chunk["shape"] == entry["shape"])
        skipped = tuple(begin - offset for begin, offset in zip(begins, offsets, strict=True))
        num_missing -= target.numel()
        yield Read(target, chunk["file"], (key, DTYPES[entry["dtype"]], shape), skipped)
    if num_missing:
        raise ValueError(f"{num_missing} numbers of {name} are in no chunk, or in several")
