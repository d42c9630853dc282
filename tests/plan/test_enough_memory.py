"""Before anything is prepared, a model is refused that the memory of what it would run on can't hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.core.errors import ConfigError
from headwater.machine.ranks.mesh import Layout, Mesh
from headwater.model.count import count_parameters
from headwater.plan import hardware
from headwater.plan import layout as module
from headwater.plan.forecast.device import find_device, read_devices
from headwater.plan.forecast.work import checkpoint_bytes
from headwater.plan.layout import require_memory_here
from headwater.runfile.run_config import load_run


@pytest.fixture
def machine(monkeypatch):
    """Set a machine's memory, and that of its GPU where it has one."""

    def set_memory(host_bytes: int, gpu_bytes: int | None) -> None:
        monkeypatch.setattr(module, "memory_bytes", lambda: host_bytes)
        gpu = None if gpu_bytes is None else replace(find_device("H100", read_devices()), memory_bytes=gpu_bytes)
        monkeypatch.setattr(hardware, "gpu_to_use", lambda wanted: None if wanted == "cpu" else gpu)

    return set_memory


LARGE, SMALL = 1 << 50, 1 << 20
WIDE = ["model.d_model=1024", "model.num_layers=8", "model.num_heads=16"]  # divided weights aren't gathered at once


@pytest.mark.parametrize(
    ("device", "host_bytes", "gpu_bytes", "too_small"),
    [
        ("auto", LARGE, None, None),
        ("auto", SMALL, None, "a process has"),
        ("auto", LARGE, LARGE, None),
        ("auto", LARGE, SMALL, "a process has"),
        ("cuda", SMALL, LARGE, "copies of these for a save need .* this machine has"),
        ("cpu", LARGE, SMALL, None),
    ],
)
def test_the_memory_that_counts_is_that_of_the_device(machine, device, host_bytes, gpu_bytes, too_small):
    config, _ = load_run("first-light", [f"machine.device={device}"])
    machine(host_bytes, gpu_bytes)
    if too_small is None:
        require_memory_here(config, Layout())
    else:
        with pytest.raises(ConfigError, match=too_small):
            require_memory_here(config, Layout())


def test_weights_that_are_divided_over_gpus_fit_where_whole_ones_do_not(machine):
    config, _ = load_run("first-light")
    whole = checkpoint_bytes(config.model, config.optim) + 4 * count_parameters(config.model).total
    machine(LARGE, whole // 2)
    with pytest.raises(ConfigError, match="a process has"):
        require_memory_here(config, Layout(Mesh(replicate=8), 8))
    require_memory_here(config, Layout(Mesh(shard=8), 8))


@pytest.mark.parametrize(
    ("mesh", "exact", "per_parameter"),
    [
        (Mesh(), False, 16),
        (Mesh(replicate=2), False, 12),
        (Mesh(), True, 24),
        (Mesh(shard=2), False, 8),
        (Mesh(replicate=2, shard=2), False, 6),
        (Mesh(shard=2), True, 12),
    ],
)
def test_a_gpu_needs_its_share_of_weights_gradients_and_optimizer_state(machine, mesh, exact, per_parameter):
    """Of AdamW; the copy that a save makes is the host's, once whatever the number of ranks on it."""
    decided = ["machine.dtype=bfloat16", "train.microbatch_tokens=256", "train.exact=true"] if exact else []
    config, _ = load_run("first-light", [*WIDE, "optim.name=adamw", *decided])
    parameters, layout = count_parameters(config.model).total, Layout(mesh, mesh.world_size)
    gpu_bytes, host_bytes = 1.1 * per_parameter * parameters, 12 * parameters
    machine(host_bytes, gpu_bytes)
    require_memory_here(config, layout)
    for too_little, refused in (((host_bytes - 1, gpu_bytes), "for a save"), ((host_bytes, 0.9 * gpu_bytes), "grad")):
        machine(*too_little)
        with pytest.raises(ConfigError, match=refused):
            require_memory_here(config, layout)


@pytest.mark.parametrize(
    ("mesh", "num_local", "per_parameter"),
    [
        (Mesh(), 1, 2 * 12),
        (Mesh(replicate=2), 2, 2 * 4 + 8 + 12),  # whole weights on both, state once
        (Mesh(shard=4), 4, 24),
        (Mesh(shard=4), 2, 12),
    ],
)
def test_a_machine_needs_what_all_ranks_on_it_hold_and_a_copy_for_saves(machine, mesh, num_local, per_parameter):
    """Of AdamW, beside gradients and sums of ranks."""
    config, _ = load_run("first-light", [*WIDE, "optim.name=adamw", "machine.device=cpu"])
    least = per_parameter * count_parameters(config.model).total
    machine(0.99 * least, None)
    with pytest.raises(ConfigError, match="a process has"):
        require_memory_here(config, Layout(mesh, num_local))
    machine(1.5 * least, None)
    require_memory_here(config, Layout(mesh, num_local))
