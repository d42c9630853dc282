"""The least that a training needs, against a count by hand."""

from __future__ import annotations

import pytest

from headwater.errors import ConfigError
from headwater.forecast.processor_memory import least_bytes, require_gpu_memory, require_memory
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings

MODEL = ModelSettings(
    num_layers=2, d_model=64, d_ff=128, num_heads=2, num_kv_heads=2, head_dim=32, seq_len=64, vocab_size=512
)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.01, "head_lr": 0.01, "vector_lr": 0.01, "weight_decay": 0.1}
ADAMW = OptimSettings(name="adamw", **RATES)


def test_a_save_needs_weights_and_both_moments_twice():
    assert least_bytes(MODEL, ADAMW) == 2 * 3 * 4 * count_parameters(MODEL).total


def test_exact_sums_need_eight_bytes_a_parameter_beside_the_gradients():
    """Of AdamW that is as much as the copy, 12 bytes; of Muon, with one moment, it is more."""
    assert least_bytes(MODEL, ADAMW, exact=True) == least_bytes(MODEL, ADAMW)
    muon = OptimSettings(**RATES)
    gradients = 4 * count_parameters(MODEL).total
    kept = least_bytes(MODEL, muon) // 2
    assert 2 * gradients < kept < 3 * gradients
    assert least_bytes(MODEL, muon, exact=True) == kept + 3 * gradients


def test_a_model_whose_state_fits_once_and_not_twice_is_refused():
    need_bytes = least_bytes(MODEL, ADAMW)
    require_memory(MODEL, ADAMW, need_bytes)
    with pytest.raises(ConfigError, match="the copy that a save makes"):
        require_memory(MODEL, ADAMW, need_bytes - 1)


@pytest.mark.parametrize(("num_ranks", "exact", "per_parameter"), [(1, False, 16), (2, False, 12), (1, True, 24)])
def test_a_gpu_needs_weights_gradients_and_its_part_of_the_optimizers_state(num_ranks, exact, per_parameter):
    """The copy that a save makes is the host's, once whatever the number of ranks."""
    parameters = count_parameters(MODEL).total
    gpu_bytes, host_bytes = per_parameter * parameters, 12 * parameters
    require_gpu_memory(MODEL, ADAMW, gpu_bytes, host_bytes, num_ranks, exact)
    with pytest.raises(ConfigError, match=r"gradients and optimizer state .* this GPU has"):
        require_gpu_memory(MODEL, ADAMW, gpu_bytes - 1, host_bytes, num_ranks, exact)
    with pytest.raises(ConfigError, match=r"the copy .* that a save makes needs .* this machine has"):
        require_gpu_memory(MODEL, ADAMW, gpu_bytes, host_bytes - 1, num_ranks, exact)
