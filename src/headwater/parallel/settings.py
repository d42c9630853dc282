"""How a run's ranks are laid out. No torch."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

from pydantic import Field, field_validator

from headwater.config import Settings
from headwater.errors import LayoutError
from headwater.model.settings import ModelSettings
from headwater.ranks.mesh import Mesh

UNBUILT = ("pipeline", "expert")
Auto = Literal["auto"]


class ParallelSettings(Settings):
    """Number of ranks along each axis; their product is the number of ranks that a launcher starts."""

    replicate: int | Auto = "auto"
    "Ranks that each have the whole weights, or a whole set of shards; auto: what shard leaves."
    shard: int | Auto = "auto"
    """Ranks that divide weights, gradients and optimizer state (FSDP); auto: what replicate leaves, and where that is
    auto, too, by memory: 1 where whole weights fit, else the fewest that fit (headwater plan RUN --ranks N)."""
    context: int = Field(default=1, ge=1)
    "Parts of each sequence: a rank keeps the activations of one, and computes attention of some heads."
    tensor: int = Field(default=1, ge=1)
    "Parts of each matrix, of the vocabulary and of what lies between: ranks of one machine, for large layers."
    pipeline: int = Field(default=1, ge=1)
    "Parts of the layers; only 1 is built."
    expert: int = Field(default=1, ge=1)
    "Parts of the experts; only 1 is built."
    silence_seconds: float | None = Field(default=4.0, ge=1)
    "Seconds without a heartbeat after which a rank is lost and the others end, to be started again; off: never."

    @field_validator("replicate", "shard", mode="before")
    @classmethod
    def _check_ranks(cls, value: Any) -> Any:
        if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError("an axis has a number of ranks, 1 or more, or auto")
        return value

    @field_validator(*UNBUILT)
    @classmethod
    def _check_built(cls, value: int) -> int:
        if value > 1:
            raise ValueError(f"only 1 is built, and {value} is requested; divide the ranks by replicate and shard")
        return value


def meshes_of(parallel: ParallelSettings, world_size: int, local_world_size: int | None = None) -> list[Mesh]:
    """Return the layouts that the settings leave open: those of shards within a machine first, the fewest first.

    `local_world_size` is how many ranks a machine has; None: all. Raises LayoutError, with the arithmetic, where the
    ranks don't fill the layout.
    """
    replicate, shard, inner = parallel.replicate, parallel.shard, parallel.context * parallel.tensor
    layers = {"context": parallel.context, "tensor": parallel.tensor}
    named = [axis for axis, size in layers.items() if size > 1]
    rows = _rest(world_size, " × ".join(f"parallel.{axis}" for axis in named), inner)
    if replicate == shard == "auto":
        local = (local_world_size or world_size) / inner
        shards = [size for size in range(1, rows + 1) if rows % size == 0]
        shards.sort(key=lambda size: (local % size > 0, size))
        return [Mesh(replicate=rows // size, shard=size, **layers) for size in shards]
    replicate = _rest(rows, "parallel.shard", shard) if replicate == "auto" else replicate
    shard = _rest(rows, "parallel.replicate", replicate) if shard == "auto" else shard
    if replicate * shard != rows:
        raise LayoutError(
            f"parallel.replicate × parallel.shard = {replicate} × {shard} = {replicate * shard} ranks"
            f"{f' of {inner} each' if inner > 1 else ''}, and "
            f"there are {world_size}; start {replicate * shard * inner} with torchrun, or set one of the two to auto"
        )
    return [Mesh(replicate=replicate, shard=shard, **layers)]


def fewest_ranks(parallel: ParallelSettings) -> int:
    """Return the fewest ranks that fill the layout."""
    sizes = (parallel.replicate, parallel.shard, parallel.context, parallel.tensor)
    return prod(size for size in sizes if size != "auto")


def layers_problem(model: ModelSettings, parallel: ParallelSettings, shortest_row: int, *, exact: bool) -> str:
    """Return why the work of a model's layers can't be divided so, with the arithmetic; "" where it can.

    `shortest_row` is the number of tokens of the shortest rows that it is trained with.
    """
    context, tensor = parallel.context, parallel.tensor
    if context * tensor == 1:
        return ""
    sizes = {"context": context, "tensor": tensor}
    axes = " × ".join(f"parallel.{axis} = {size}" for axis, size in sizes.items() if size > 1)
    if exact:
        return f"train.exact has the same bits on any ranks along replicate and shard alone, and here is {axes}"
    if tensor > 1 and model.family == "gpt2":
        return f"family gpt2, with biases of sums, can't be divided along tensor, and here is {axes}"
    divided = {
        "model.num_heads": (model.num_heads, tensor * context),
        "model.num_kv_heads": (model.num_kv_heads, tensor),
        "model.d_ff": (model.d_ff, tensor),
        "model.vocab_size": (model.vocab_size, tensor),
        "the tokens of a row": (shortest_row, tensor * context),
    }
    for name, (size, parts) in divided.items():
        if size % parts:
            return f"{axes} can't divide {name} = {size} into {parts} equal parts: {size % parts} is left"
    heads = model.num_kv_heads // tensor
    if heads % context and context % heads:
        of_rank = f"{model.num_kv_heads}{f' / {tensor}' if tensor > 1 else ''}"
        return f"{axes} shares model.num_kv_heads = {of_rank} unevenly: {heads} for {context} ranks"
    return ""


def _rest(world_size: int, axis: str, size: int | Auto) -> int:
    """Return the ranks that axes of together `size` leave to the others."""
    assert size != "auto"
    if world_size % size:
        there = f"there are {world_size}" if world_size > 1 else "this process is alone"
        raise LayoutError(
            f"{axis} = {size} needs {size} ranks or a multiple of {size}, and {there}; start "
            f"{max(1, round(world_size / size)) * size} with torchrun, or change {axis}"
        )
    return world_size // size
