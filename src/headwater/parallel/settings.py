"""How a run's ranks are laid out. No torch."""

from __future__ import annotations

from math import prod
from typing import Any, Literal

from pydantic import Field, field_validator

from headwater.config import Settings
from headwater.errors import LayoutError
from headwater.ranks.mesh import Mesh

UNBUILT = ("context", "tensor", "pipeline", "expert")
Auto = Literal["auto"]


class ParallelSettings(Settings):
    """Number of ranks along each axis; their product is the number of ranks that a launcher starts."""

    replicate: int | Auto = "auto"
    "Ranks that each have the whole weights, or a whole set of shards; auto: what shard leaves."
    shard: int | Auto = "auto"
    """Ranks that divide weights, gradients and optimizer state (FSDP); auto: what replicate leaves, and where that is
    auto, too, by memory: 1 where whole weights fit, else the fewest that fit (headwater plan RUN --ranks N)."""
    context: int = Field(default=1, ge=1)
    "Parts of a sequence; only 1 is built."
    tensor: int = Field(default=1, ge=1)
    "Parts of each matrix; only 1 is built."
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
    replicate, shard = parallel.replicate, parallel.shard
    if replicate == shard == "auto":
        local = local_world_size or world_size
        shards = [size for size in range(1, world_size + 1) if world_size % size == 0]
        shards.sort(key=lambda size: (local % size > 0, size))
        return [Mesh(replicate=world_size // size, shard=size) for size in shards]
    replicate = _rest(world_size, "shard", shard) if replicate == "auto" else replicate
    shard = _rest(world_size, "replicate", replicate) if shard == "auto" else shard
    if replicate * shard != world_size:
        raise LayoutError(
            f"parallel.replicate × parallel.shard = {replicate} × {shard} = {replicate * shard} ranks, and "
            f"there are {world_size}; start {replicate * shard} with torchrun, or set one of the two to auto"
        )
    return [Mesh(replicate=replicate, shard=shard)]


def fewest_ranks(parallel: ParallelSettings) -> int:
    """Return the fewest ranks that fill the layout."""
    return prod(size for size in (parallel.replicate, parallel.shard) if size != "auto")


def _rest(world_size: int, axis: str, size: int | Auto) -> int:
    """Return the ranks that an axis of `size` leaves to the other."""
    assert size != "auto"
    if world_size % size:
        there = f"there are {world_size}" if world_size > 1 else "this process is alone"
        raise LayoutError(
            f"parallel.{axis} = {size} needs {size} ranks or a multiple of {size}, and {there}; start "
            f"{max(1, round(world_size / size)) * size} with torchrun, or change parallel.{axis}"
        )
    return world_size // size
