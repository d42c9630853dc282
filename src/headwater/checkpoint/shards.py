"""Who writes which piece of a state, and where the pieces of a tensor lie: PyTorch's planner, with JSON about it.

torch.distributed.checkpoint decides which rank writes what (each piece once, spread evenly) and which boxes of which
saved pieces make up a tensor at another number of ranks. Its storage is not used: it loads flipped bits without a word,
and runs code from its metadata. Plans travel between ranks as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import ReadItem, SavePlan, TensorWriteData, WriteItem, WriteItemType

from headwater.checkpoint import tensor_file
from headwater.checkpoint.checked_file import CheckedTensors
from headwater.checkpoint.tensor_digest import add_digests, tensor_digest
from headwater.checkpoint.tensor_file import copy_box_
from headwater.errors import CheckpointError
from headwater.files import digest_json
from headwater.ranks.exchange import Ranks

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in tensor_file.DTYPES}
Table = dict[str, dict[str, Any]]
"Of a manifest: {tensor: {dtype, shape, digest, chunks: [{file, offsets, shape}]}}."


@dataclass(frozen=True)
class Piece:
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


def pieces_to_write(state: Mapping[str, Tensor], ranks: Ranks) -> list[Piece]:
    """Return what this rank writes of a state that all ranks hold in part or whole; all ranks call it together."""
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(dict(state), is_coordinator=True)
    plans = [_decoded(plan) for plan in ranks.gather(_encoded(planner.create_local_plan()))]
    everyones, _ = planner.create_global_plan(plans)
    mine = planner.finish_plan(everyones[ranks.rank])
    return [_piece(planner, item) for item in mine.items]


def _piece(planner: DefaultSavePlanner, item: WriteItem) -> Piece:
    data, tensor = item.tensor_data, planner.resolve_data(item)
    assert data is not None
    assert isinstance(tensor, Tensor)
    return Piece(item.index.fqn, tuple(data.chunk.offsets), tuple(data.size), tensor.detach())


def _encoded(plan: SavePlan) -> list[Any]:
    return [_encoded_item(item) for item in plan.items]


def _encoded_item(item: WriteItem) -> list[Any]:
    data = item.tensor_data
    if data is None:
        raise AssertionError(f"{item.index.fqn} is no tensor; it belongs into state.json")
    dtype = str(data.properties.dtype).removeprefix("torch.")
    chunk = data.chunk
    offset = None if item.index.offset is None else list(item.index.offset)
    return [item.index.fqn, offset, item.type.name, dtype, list(data.size), list(chunk.offsets), list(chunk.sizes)]


def _decoded(items: list[Any]) -> SavePlan:
    return SavePlan([_decoded_item(*item) for item in items])


def _decoded_item(
    name: str, offset: list[int] | None, kind: str, dtype: str, size: list[int], offsets: list[int], sizes: list[int]
) -> WriteItem:
    chunk = ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes))
    data = TensorWriteData(chunk, TensorProperties(DTYPES[dtype]), torch.Size(size))
    return WriteItem(MetadataIndex(name, offset), WriteItemType[kind], tensor_data=data)


def table_of(pieces: Iterable[tuple[Piece, str]]) -> Table:
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


def load_pieces_(
    state: Mapping[str, Tensor], table: Table, open_file: Callable[[str], CheckedTensors], folder: str
) -> None:
    """Fill the tensors of `state` from the pieces of a checkpoint at whatever number of ranks it was written.

    Each file that is needed is opened once, and read where these tensors lie. Raises CheckpointError, naming `folder`,
    when a tensor isn't there or has another shape.
    """
    require_shapes(state, table, folder)
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    try:
        planner.set_up_planner(dict(state), _metadata(table), is_coordinator=True)
        by_file = _reads(planner, table)
    except (KeyError, TypeError, ValueError, AssertionError, RuntimeError, StopIteration) as error:
        raise CheckpointError(f"{folder} has a table of tensors that makes no sense: {error!r:.200}") from None
    for name, reads in by_file.items():
        with open_file(name) as file:
            found = [(file.entry_of(*wanted), item) for item, wanted in reads]
            for entry, item in sorted(found, key=lambda each: each[0].start):  # so that no block is read twice
                copy_box_(planner.resolve_tensor(item), file, entry, item.storage_offsets)


Wanted = tuple[str, torch.dtype, tuple[int, ...]]
"A tensor of a file: its key, its dtype and its shape by the manifest."


def _reads(planner: DefaultLoadPlanner, table: Table) -> dict[str, list[tuple[ReadItem, Wanted]]]:
    """Return, for each file, the boxes to read, and the tensors that they are in."""
    by_file: dict[str, list[tuple[ReadItem, Wanted]]] = {}
    for item in planner.create_local_plan().items:
        name, offset = item.storage_index.fqn, item.storage_index.offset
        chunk = next(chunk for chunk in table[name]["chunks"] if offset is None or chunk["offsets"] == list(offset))
        key = key_of(name, chunk["offsets"], is_whole=chunk["shape"] == table[name]["shape"])
        wanted = key, DTYPES[table[name]["dtype"]], tuple(chunk["shape"])
        by_file.setdefault(chunk["file"], []).append((item, wanted))
    return by_file


def require_shapes(state: Mapping[str, Tensor], table: Table, folder: str) -> None:
    """Raise CheckpointError, naming `folder`, unless each of these tensors was saved, in its shape."""
    for name, tensor in state.items():
        found = table.get(name, {}).get("shape")
        if found != list(tensor.shape):
            said = "is missing" if found is None else f"has the shape {found}"
            raise CheckpointError(f"{folder} doesn't fit this run: {name}, {list(tensor.shape)} here, {said} there")


def _metadata(table: Table) -> Metadata:
    def entry(facts: dict[str, Any]) -> TensorStorageMetadata:
        boxes = [ChunkStorageMetadata(torch.Size(c["offsets"]), torch.Size(c["shape"])) for c in facts["chunks"]]
        return TensorStorageMetadata(TensorProperties(DTYPES[facts["dtype"]]), torch.Size(facts["shape"]), boxes)

    return Metadata({name: entry(facts) for name, facts in table.items()})
