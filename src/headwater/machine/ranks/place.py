"""Where a process stands among those that train one run. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headwater.core.errors import ConfigError, LayoutError


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
