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
import xxhash
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
from headwater.errors import CheckpointError
from headwater.files import digest_json
from headwater.ranks.exchange import Ranks

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in tensor_file.DTYPES}
Table = dict[str, dict[str, Any]]
"Of a manifest: {tensor: {dtype, shape, digest, chunks: [{file, offsets, shape}]}}; no digest where pieces are boxes."


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
                "digest": bits_digest(piece.tensor) if piece.is_whole else None,
                "chunks": [{"file": file, "offsets": list(piece.offsets), "shape": list(piece.tensor.shape)}],
            }
        }
        for piece, file in pieces
    )


def bits_digest(tensor: Tensor) -> str:
    """Return XXH3-128 of a tensor's bytes."""
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return "xxh3-128:" + xxhash.xxh3_128_hexdigest(flat.numpy().data)


def state_digest(table: Table) -> str | None:
    """Return a digest of all tensors of a table that doesn't depend on the number of ranks; None with boxes in it."""
    if any(entry["digest"] is None for entry in table.values()):
        return None
    return digest_json({name: [entry["dtype"], entry["shape"], entry["digest"]] for name, entry in table.items()})


def merged_tables(tables: Iterable[Table]) -> Table:
    """Return one table with all chunks of every tensor, by name."""
    merged: Table = {}
    for table in tables:
        for name, entry in table.items():
            known = merged.setdefault(name, {**entry, "chunks": []})
            known["chunks"] += entry["chunks"]
    return dict(sorted(merged.items()))


def load_pieces_(
    state: Mapping[str, Tensor], table: Table, tensors_of: Callable[[str], Mapping[str, Tensor]], folder: str
) -> None:
    """Fill the tensors of `state` from the pieces of a checkpoint at whatever number of ranks it was written.

    `tensors_of` returns the tensors of a file by their keys; each file that is needed is asked for once. Raises
    CheckpointError, naming `folder`, when a tensor isn't there or has another shape.
    """
    _require_shapes(state, table, folder)
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    try:
        planner.set_up_planner(dict(state), _metadata(table), is_coordinator=True)
        by_file = _reads(planner, table)
    except (KeyError, TypeError, ValueError, AssertionError, RuntimeError, StopIteration) as error:
        raise CheckpointError(f"{folder} has a table of tensors that makes no sense: {error!r:.200}") from None
    for file, items in by_file.items():
        tensors = tensors_of(file)
        for item, key in items:
            if key not in tensors:
                raise CheckpointError(f"{folder} is damaged: {file} has no tensor {key}, which its manifest.json names")
            target = planner.resolve_tensor(item)
            try:
                target.copy_(_box(tensors[key], item.storage_offsets, item.lengths))
            except (IndexError, RuntimeError, ValueError):
                shape = list(tensors[key].shape)
                raise CheckpointError(
                    f"{folder} is damaged: {key} in {file} has the shape {shape}, another than its manifest.json says"
                ) from None


def _reads(planner: DefaultLoadPlanner, table: Table) -> dict[str, list[tuple[ReadItem, str]]]:
    """Return, for each file, the boxes to read and the keys of the tensors that they are in."""
    by_file: dict[str, list[tuple[ReadItem, str]]] = {}
    for item in planner.create_local_plan().items:
        name, offset = item.storage_index.fqn, item.storage_index.offset
        chunk = next(chunk for chunk in table[name]["chunks"] if offset is None or chunk["offsets"] == list(offset))
        key = key_of(name, chunk["offsets"], is_whole=chunk["shape"] == table[name]["shape"])
        by_file.setdefault(chunk["file"], []).append((item, key))
    return by_file


def _box(tensor: Tensor, offsets: Iterable[int], lengths: Iterable[int]) -> Tensor:
    for dimension, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        tensor = tensor.narrow(dimension, offset, length)
    return tensor


def _require_shapes(state: Mapping[str, Tensor], table: Table, folder: str) -> None:
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
