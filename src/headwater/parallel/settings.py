"""How a run's ranks are laid out. No torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from headwater.config import Settings
from headwater.errors import ConfigError
from headwater.ranks.mesh import Mesh

UNBUILT = ("context", "tensor", "pipeline", "expert")
Auto = Literal["auto"]


class ParallelSettings(Settings):
    """Number of ranks along each axis; their product is the number of ranks that a launcher starts."""

    replicate: int | Auto = "auto"
    "Ranks that each have the whole weights, or a whole set of shards; auto: what shard leaves."
    shard: int | Auto = 1
    "Ranks that divide weights, gradients and optimizer state (FSDP); auto: all that replicate leaves."
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


def mesh_of(parallel: ParallelSettings, world_size: int) -> Mesh:
    """Return the mesh of so many ranks; raise ConfigError, with the arithmetic, where they don't fill it."""
    replicate, shard = parallel.replicate, parallel.shard
    if shard == "auto":
        replicate = 1 if replicate == "auto" else replicate
        shard = _rest(world_size, "replicate", replicate)
    elif replicate == "auto":
        replicate = _rest(world_size, "shard", shard)
    if replicate * shard != world_size:
        raise ConfigError(
            f"parallel.replicate × parallel.shard = {replicate} × {shard} = {replicate * shard} ranks, and "
            f"{world_size} started; start {replicate * shard} with torchrun, or set one of the two to auto"
        )
    return Mesh(replicate=replicate, shard=shard)


def _rest(world_size: int, axis: str, size: int) -> int:
    """Return the ranks that an axis of `size` leaves to the other."""
    if world_size % size:
        raise ConfigError(
            f"{world_size} rank(s) can't be divided by parallel.{axis}={size}: {world_size} = "
            f"{world_size // size} × {size} + {world_size % size}; start a multiple of {size} with torchrun, or change "
            f"parallel.{axis}"
        )
    return world_size // size
