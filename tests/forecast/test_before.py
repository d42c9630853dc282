"""The least that a training needs, against a count by hand."""

from __future__ import annotations

import pytest

from headwater.errors import ConfigError
from headwater.forecast.work import least_of_rank, require_memory
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import Mesh

MODEL = ModelSettings(
    num_layers=2, d_model=64, d_ff=128, num_heads=2, num_kv_heads=2, head_dim=32, seq_len=64, vocab_size=512
)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.01, "head_lr": 0.01, "vector_lr": 0.01, "weight_decay": 0.1}
ADAMW = OptimSettings(name="adamw", **RATES)


def least_bytes(optim, mesh=None, num_local: int = 1, exact: bool = False) -> int:
    """Return the least memory that isn't refused."""
    of_rank, bounds = least_of_rank(MODEL, optim, mesh or Mesh(), exact=exact), [0, 1 << 40]
    while bounds[1] - bounds[0] > 1:
        middle = sum(bounds) // 2
        try:
            require_memory(of_rank, num_local, middle)
            bounds[1] = middle
        except ConfigError as refused:
            assert "the copy that a save makes" in str(refused)
            bounds[0] = middle
    return bounds[1]


def test_a_save_needs_weights_and_both_moments_twice():
    assert least_bytes(ADAMW) == 2 * 3 * 4 * count_parameters(MODEL).total


def test_exact_sums_need_eight_bytes_a_parameter_beside_the_gradients():
    """Of AdamW that is as much as the copy, 12 bytes; of Muon, with one moment, it is more."""
    assert least_bytes(ADAMW, exact=True) == least_bytes(ADAMW)
    muon = OptimSettings(**RATES)
    gradients = 4 * count_parameters(MODEL).total
    kept = least_bytes(muon) // 2
    assert 2 * gradients < kept < 3 * gradients
    assert least_bytes(muon, exact=True) == kept + 3 * gradients


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
def test_a_gpu_needs_its_share_of_weights_gradients_and_optimizer_state(mesh, exact, per_parameter):
    """The copy that a save makes is the host's, once whatever the number of ranks on it."""
    parameters = count_parameters(MODEL).total
    gpu_bytes, host_bytes, num_local = per_parameter * parameters, 12 * parameters, mesh.world_size
    of_rank = least_of_rank(MODEL, ADAMW, mesh, exact=exact)
    require_memory(of_rank, num_local, host_bytes, gpu_bytes)
    with pytest.raises(ConfigError, match=r"gradients and optimizer state .* this GPU has"):
        require_memory(of_rank, num_local, host_bytes, gpu_bytes - 1)
    with pytest.raises(ConfigError, match=r"the copy .* that a save makes needs .* this machine has"):
        require_memory(of_rank, num_local, host_bytes - 1, gpu_bytes)


@pytest.mark.parametrize(
    ("mesh", "num_local", "per_parameter"),
    [
        (Mesh(replicate=2), 2, 2 * 4 + 8 + 12),  # whole weights on both, state once
        (Mesh(shard=4), 4, 24),
        (Mesh(shard=4), 2, 12),
        (Mesh(replicate=2, shard=2), 4, 2 * 4 + 8 + 12),
    ],
)
def test_a_machine_needs_what_all_ranks_on_it_hold(mesh, num_local, per_parameter):
    assert least_bytes(ADAMW, mesh, num_local) == per_parameter * count_parameters(MODEL).total
