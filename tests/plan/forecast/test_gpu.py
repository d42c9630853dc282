"""Sizes on GPUs: sums by hand, trying every batch and microbatch, and what can't be."""

from __future__ import annotations

import pytest

from headwater.machine.ranks.mesh import Mesh
from headwater.model.count import count_parameters
from headwater.model.optim.settings import OptimSettings
from headwater.plan.forecast.device import find_device, read_devices
from headwater.plan.forecast.rank_memory import gpu_memory
from headwater.plan.forecast.result import StepWork, checkpoint_bytes
from headwater.plan.sizes import model_of

DEVICES = read_devices()
H100 = find_device("H100", DEVICES)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.01, "head_lr": 0.01, "vector_lr": 0.01, "weight_decay": 0.1}
MUON, ADAMW = OptimSettings(**RATES), OptimSettings(name="adamw", **RATES)
MODEL = model_of(24, "qwen3", 65_536, 2048)
HOUR = 3600.0


def test_a_run_takes_six_flops_a_parameter_and_token_at_two_fifths_of_the_peak():
    # 1 billion parameters on 20 billion tokens: 1.2e20 FLOPs; 8 H100 of 989 TFLOP/s give 3.165e15 of them a second
    assert 20e9 * H100.seconds_per_token(1e9, 8) / HOUR == pytest.approx(1.2e20 / 3.1648e15 / HOUR, rel=1e-3)
    again = H100.seconds_per_token(1e9, recomputed=1.0) / H100.seconds_per_token(1e9)
    assert again == pytest.approx(4 / 3)  # a second forward pass


@pytest.mark.parametrize("optim", [MUON, ADAMW], ids=["muon", "adamw"])
def test_compiled_blocks_keep_what_a_fused_layer_needs(optim):
    """By hand, of one sequence: bf16 inputs of norms and projections, heads, those before their norms, the MLP's three
    products, and the matrices in bf16.

    Between the passes the head's gradient is there, the sequence's own output, and 14 bytes of each logit.
    """
    d_model, tokens = MODEL.d_model, MODEL.seq_len
    head = 65_536 * d_model
    matrices = 24 * (4 * d_model**2 + 3 * d_model * MODEL.d_ff)
    kept = (
        2 * matrices
        + tokens * (24 * gpu_layer() + 4 * d_model)
        + 14 * 2048 * 65_536
        + (4 + 2) * head
        + 4 * tokens * d_model
    )
    state = checkpoint_bytes(MODEL, optim)  # of one microbatch no gradient is there yet
    found = gpu_memory(StepWork(MODEL, optim), is_compiled=True)
    assert found.total == pytest.approx(state + 1.05 * kept + 1.5e9)


def test_the_optimizers_state_is_divided_and_weights_and_gradients_are_whole():
    whole = 8 * count_parameters(MODEL).total
    moments = checkpoint_bytes(MODEL, MUON) + 4 * count_parameters(MODEL).total - whole
    one, eight, shards = (
        gpu_memory(StepWork(MODEL, MUON, mesh, num_microbatches=2), is_compiled=True).state
        for mesh in (Mesh(), Mesh(replicate=8), Mesh(shard=8))
    )
    assert one == pytest.approx(whole + moments)
    assert whole + moments / 8 < eight < whole + moments / 3, "the first rank has the largest matrices, whole"
    assert shards == pytest.approx((whole + moments) / 8, rel=1e-3)


@pytest.mark.parametrize("is_compiled", [True, False])
def test_what_is_recomputed_takes_less_the_more_of_it_there_is(is_compiled):
    def peak(recompute):
        return gpu_memory(StepWork(MODEL, MUON, num_rows=16, recompute=recompute), is_compiled=is_compiled).total

    assert peak(0) > peak(12) > peak(24)
    assert peak(0) > peak("selective") > peak(24)


def gpu_layer():
    return 2 * (4 * MODEL.d_model + 6 * MODEL.num_heads * MODEL.head_dim + 3 * MODEL.d_ff)
