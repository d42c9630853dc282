"""Named axes of a run's ranks: what each rank has of the rows, the weights and the layers is a matter of where it is.

Today `expert` has one rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

AXES = ("pipeline", "replicate", "shard", "context", "tensor", "expert")  # the outermost first
DATA_AXES = ("replicate", "shard")  # ranks along them have rows of their own; all others have the same rows
WEIGHT_AXES = ("shard", "context")  # ranks along them divide weights and optimizer state by rows, as FSDP does
LAYER_AXES = ("context", "tensor")  # ranks along them share the work of a layer on the same rows
STATE_AXES = (*WEIGHT_AXES, "tensor")  # ranks along them have all weights and all state of a stage together
SMALL_BYTES = 64 << 20  # of weights: to gather so much takes less long than exchanges block by block take to begin
SAME_ROWS_AXES = ("pipeline", *LAYER_AXES)  # ranks along them have the same rows


@dataclass(frozen=True)
class Mesh:
    """The number of ranks along each axis, the outermost first: those of one innermost axis are neighbours."""

    pipeline: int = 1  # stages: some layers each
    replicate: int = 1  # whole copies of the weights
    shard: int = 1  # shares of weights and optimizer state
    context: int = 1  # parts of a sequence
    tensor: int = 1  # parts of each matrix
    expert: int = 1
    stages_per_rank: int = 1  # of a pipeline: no axis

    def __str__(self) -> str:
        """Return the sizes of replicate and shard, and of what else has more than one rank."""
        return ", ".join(f"{axis} {self.size(axis)}" for axis in self._shown) + self._stages

    @property
    def product(self) -> str:
        """Return the same as a product of settings."""
        return " × ".join(f"{axis} = {self.size(axis)}" for axis in self._shown) + self._stages

    @property
    def divisions(self) -> str:
        """Return the same of the axes along which ranks divide what they hold."""
        shown = [axis for axis in self._shown if axis != "replicate"]
        return " × ".join(f"{axis} = {self.size(axis)}" for axis in shown)

    @property
    def _stages(self) -> str:
        return f", {self.stages_per_rank} stages a rank" if self.stages_per_rank > 1 else ""

    @property
    def _shown(self) -> list[str]:
        return [axis for axis in AXES if axis in DATA_AXES or self.size(axis) > 1]

    @property
    def world_size(self) -> int:
        return self.size(*AXES)

    @property
    def wanted_microbatches(self) -> int:
        """Return how many microbatches of a step keep each rank busy: of a pipeline for four fifths of the time."""
        return 4 * self.pipeline if self.pipeline > 1 else 1

    def waiting(self, num_microbatches: int) -> float:
        """Return the time that a rank of a pipeline waits at the ends of a step, over that in which it computes."""
        return (self.pipeline - 1) / (self.stages_per_rank * num_microbatches)

    @property
    def differing_places(self) -> list[int]:
        """Return places along `pipeline`: the ends, and the second, which has most layers and most microbatches."""
        return sorted({0, min(1, self.pipeline - 1), self.pipeline - 1})

    def gathers_once(self, num_bytes: int) -> bool:
        """Return whether ranks that divide weights of so many bytes gather them once a step, and add gradients once.

        Else they do for each microbatch, and gather a block's weights for each of its passes.
        """
        return self.pipeline > 1 or num_bytes <= SMALL_BYTES

    @property
    def num_stages(self) -> int:
        return self.pipeline * self.stages_per_rank

    def index(self, rank: int, *axes: str) -> int:
        """Return the number of a rank along some axes taken as one, those outside of them before."""
        found, below = dict[str, int](), rank
        for axis in reversed(AXES):
            below, found[axis] = divmod(below, getattr(self, axis))
        number = 0
        for axis in AXES:
            number = number * getattr(self, axis) + found[axis] if axis in axes else number
        return number

    def size(self, *axes: str) -> int:
        """Return the number of ranks along some axes taken as one."""
        return math.prod(getattr(self, axis) for axis in axes)


@dataclass(frozen=True)
class Layout:
    """How ranks lie, how many of them one machine has, and why.

    `recompute` is the part of the blocks that is computed again where memory decides that; None: train.recompute does.
    """

    mesh: Mesh = field(default_factory=Mesh)
    num_local: int = 1
    why: str = ""
    recompute: float | None = None

    def __str__(self) -> str:
        """Return how many ranks there are and how they lie."""
        num_ranks = self.mesh.world_size
        return "one device" if num_ranks == 1 else f"{num_ranks} ranks, {self.mesh.product}"

    @property
    def product(self) -> str:
        """Return the layout as settings."""
        return self.mesh.product + self._again

    @property
    def divisions(self) -> str:
        """Return the same of what makes a rank hold less."""
        return self.mesh.divisions + self._again

    @property
    def _again(self) -> str:
        return f" and train.recompute = {self.recompute:g}" if self.recompute else ""

    @property
    def num_machines(self) -> int:
        return -(-self.mesh.world_size // self.num_local)
