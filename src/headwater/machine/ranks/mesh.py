"""Where each rank of a run stands, as its launcher says, and the axes along which ranks lie. No torch.

What each has of the rows, the weights and the layers is a matter of where it is. Today `expert` has one rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from headwater.core.errors import ConfigError, LayoutError

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


@dataclass(frozen=True)
class Place:
    """Where a launcher says that this process stands: its number, among how many, and the same on this machine.

    `has_store`: the ranks meet at a store of the launcher's, which is there before them, and not at the first rank's.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    has_store: bool = False


def place_of(environment: Mapping[str, str]) -> Place:
    """Return the place that torchrun's variables say, or that of a process alone; half of them are a ConfigError."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    found = {name: environment[name] for name in names if name in environment}
    if found.get("WORLD_SIZE", "1") == "1":
        return Place()
    if len(found) < len(names) or not all(value.isdigit() for value in found.values()):
        variables = ", ".join(f"{name}={value}" for name, value in found.items())
        raise ConfigError(f"the environment has only part of what names a rank ({variables}); start them with torchrun")
    has_store = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    rank, world_size, local_rank, local_world_size = (int(found[name]) for name in names)
    return Place(rank, world_size, local_rank, local_world_size, has_store)


def gpu_of(place: Place, wanted: str, num_visible: Callable[[], int]) -> int | None:
    """Return which GPU, of those that a process sees, a rank computes on; None: on the processor.

    `wanted` is machine.device. A launcher shows each process all GPUs of its machine, or its own one. Raises
    ConfigError if there is none for this rank.
    """
    num_gpus = 0 if wanted == "cpu" else num_visible()
    if wanted == "cuda" and not num_gpus:
        raise ConfigError("machine.device is cuda and torch finds no GPU here; set machine.device to auto or cpu")
    if 1 < num_gpus < place.local_world_size:
        raise LayoutError(shared_gpus(place, num_gpus))
    return place.local_rank % num_gpus if num_gpus else None


def shared_gpus(place: Place, num_gpus: int) -> str:
    """Return why ranks that would have to share a GPU are refused."""
    return (
        f"{place.local_world_size} ranks of one machine see {num_gpus} GPU{'s' * (num_gpus > 1)}, and each needs its "
        f"own; start {num_gpus} a machine with torchrun, or set machine.device to cpu"
    )


def named(ranks: Sequence[int] | None, world_size: int) -> str:
    """Return what to call these ranks, as seen by one of them; none stands for what is between them, None for some."""
    if world_size == 1:
        return "this machine"
    if ranks is None:
        return f"one of {world_size} ranks, it isn't known which (they divide the weights),"
    if not ranks:
        return f"the exchange between {world_size} ranks"
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))} of {world_size}"
