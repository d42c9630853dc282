"""Named axes of a run's ranks: what each rank has of the rows, the weights and the layers is a matter of where it is.

Today ranks are along `replicate` and `shard`; the other axes have one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

DATA_AXES = ("replicate", "shard")  # ranks along them have rows of their own; all others have the same rows


@dataclass(frozen=True)
class Mesh:
    """The number of ranks along each axis, the outermost first: those of one innermost axis are neighbours."""

    pipeline: int = 1  # layers
    replicate: int = 1  # whole copies of the weights
    shard: int = 1  # shares of weights and optimizer state
    context: int = 1  # parts of a sequence
    tensor: int = 1  # parts of each matrix
    expert: int = 1

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self))

    @property
    def world_size(self) -> int:
        return math.prod(getattr(self, axis) for axis in self.axes)

    def index(self, rank: int, *axes: str) -> int:
        """Return the number of a rank along some axes taken as one, those outside of them before."""
        found, below = dict[str, int](), rank
        for axis in reversed(self.axes):
            below, found[axis] = divmod(below, getattr(self, axis))
        number = 0
        for axis in self.axes:
            number = number * getattr(self, axis) + found[axis] if axis in axes else number
        return number

    def size(self, *axes: str) -> int:
        """Return the number of ranks along some axes taken as one."""
        return math.prod(getattr(self, axis) for axis in axes)


@dataclass(frozen=True)
class Layout:
    """How ranks lie, how many of them one machine has, and why."""

    mesh: Mesh = field(default_factory=Mesh)
    num_local: int = 1
    why: str = ""

    @property
    def num_machines(self) -> int:
        return -(-self.mesh.world_size // self.num_local)
