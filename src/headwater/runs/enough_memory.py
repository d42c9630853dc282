"""What memory a run's ranks have here, and whether its model can be trained in it: found out before anything else."""

from __future__ import annotations

from headwater.forecast.processor_memory import least_of_rank, require_memory
from headwater.host.facts import gpu_name
from headwater.host.memory import memory_bytes
from headwater.ranks.mesh import Mesh
from headwater.runs.run_config import RunConfig


def require_memory_here(config: RunConfig, mesh: Mesh | None = None, num_local: int = 1) -> None:
    """Raise ConfigError when the memory that a run takes, a GPU's where it takes one, can't hold its model's state.

    `mesh` says how the run's ranks divide it, `num_local` how many of them this machine has.
    """
    of_rank = least_of_rank(config.model, config.optim, mesh or Mesh(), exact=config.train.exact)
    require_memory(of_rank, num_local, memory_bytes(), gpu_memory_bytes(config.machine.device))


def rank_bytes(wanted: str, num_local: int) -> float:
    """Return the memory of one of `num_local` ranks here: its GPU's, or its share of the machine's."""
    gpu_bytes = gpu_memory_bytes(wanted)
    return memory_bytes() / num_local if gpu_bytes is None else gpu_bytes


def gpu_memory_bytes(wanted: str) -> int | None:
    """Return the memory of the GPU that a run takes; None where it takes a processor."""
    if wanted == "cpu" or gpu_name() is None:
        return None
    import torch  # where the driver lists a GPU: it takes seconds

    from headwater.device.device import Gpu

    return Gpu().memory_bytes() if torch.cuda.is_available() else None
