"""Before anything is prepared, a model is refused that the memory of what it would run on can't hold."""

from __future__ import annotations

import pytest
import torch

from headwater.device.device import Gpu
from headwater.errors import ConfigError
from headwater.forecast.work import state_bytes
from headwater.ranks.mesh import Mesh
from headwater.runs import layout as module
from headwater.runs.layout import require_memory_here
from headwater.runs.run_config import load_run


@pytest.fixture
def machine(monkeypatch):
    """Set a machine's memory, and that of its GPU where it has one."""

    def set_memory(host_bytes: int, gpu_bytes: int | None) -> None:
        monkeypatch.setattr(module, "memory_bytes", lambda: host_bytes)
        monkeypatch.setattr(module, "gpu_name", lambda: None if gpu_bytes is None else "a GPU")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu_bytes is not None)
        monkeypatch.setattr(Gpu, "memory_bytes", lambda gpu: gpu_bytes)

    return set_memory


LARGE, SMALL = 1 << 50, 1 << 20


@pytest.mark.parametrize(
    ("device", "host_bytes", "gpu_bytes", "too_small"),
    [
        ("auto", LARGE, None, None),
        ("auto", SMALL, None, "this machine has"),
        ("auto", LARGE, LARGE, None),
        ("auto", LARGE, SMALL, "this GPU has"),
        ("cuda", SMALL, LARGE, "the copy of weights and optimizer state that a save makes"),
        ("cpu", LARGE, SMALL, None),
    ],
)
def test_the_memory_that_counts_is_that_of_the_device(machine, device, host_bytes, gpu_bytes, too_small):
    config, _ = load_run("first-light", [f"machine.device={device}"])
    machine(host_bytes, gpu_bytes)
    if too_small is None:
        require_memory_here(config)
    else:
        with pytest.raises(ConfigError, match=too_small):
            require_memory_here(config)


def test_weights_that_are_divided_over_gpus_fit_where_whole_ones_do_not(machine):
    config, _ = load_run("first-light")
    whole = state_bytes(config.model, config.optim)
    machine(LARGE, whole // 2)
    with pytest.raises(ConfigError, match="this GPU has"):
        require_memory_here(config, Mesh(replicate=8), 8)
    require_memory_here(config, Mesh(shard=8), 8)
