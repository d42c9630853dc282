"""Whether a run's model can be trained here at all: found out before anything is prepared."""

from __future__ import annotations

from headwater.forecast.processor_memory import require_gpu_memory, require_memory
from headwater.host.facts import gpu_name
from headwater.host.memory import memory_bytes
from headwater.runs.run_config import RunConfig


def require_memory_here(config: RunConfig, num_ranks: int = 1) -> None:
    """Raise ConfigError when the memory that a run takes, a GPU's where it takes one, can't hold its model's state."""
    exact, gpu_bytes = config.train.exact, _gpu_memory_bytes(config.machine.device)
    if gpu_bytes is None:
        require_memory(config.model, config.optim, memory_bytes(), exact=exact)
    else:
        require_gpu_memory(config.model, config.optim, gpu_bytes, memory_bytes(), num_ranks, exact)


def _gpu_memory_bytes(wanted: str) -> int | None:
    """Return the memory of the GPU that a run takes; None where it takes a processor."""
    if wanted == "cpu" or gpu_name() is None:
        return None
    import torch  # where the driver lists a GPU: it takes seconds

    from headwater.device.device import Gpu

    return Gpu().memory_bytes() if torch.cuda.is_available() else None
