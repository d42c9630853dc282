"""Sizes on GPUs: sums by hand, trying every batch and microbatch, and what can't be."""

from __future__ import annotations

import math

import pytest

from headwater.forecast.candidate import model_of, sizes
from headwater.forecast.device import find_device, read_devices
from headwater.forecast.gpu import batches, exchange_seconds, gpu_memory, seconds_per_token
from headwater.forecast.processor_memory import state_bytes
from headwater.model.count import count_parameters
from headwater.optim.rules import rows_of_batch
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import Mesh

DEVICES = read_devices()
H100 = find_device("H100", DEVICES)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.01, "head_lr": 0.01, "vector_lr": 0.01, "weight_decay": 0.1}
MUON, ADAMW = OptimSettings(**RATES), OptimSettings(name="adamw", **RATES)
MODEL = model_of(24, "qwen3", 65_536, 2048)
HOUR = 3600.0


def test_a_run_takes_six_flops_a_parameter_and_token_at_two_fifths_of_the_peak():
    # 1 billion parameters on 20 billion tokens: 1.2e20 FLOPs; 8 H100 of 989 TFLOP/s give 3.165e15 of them a second
    assert 20e9 * seconds_per_token(1e9, H100, 8) / HOUR == pytest.approx(1.2e20 / 3.1648e15 / HOUR, rel=1e-3)
    again = seconds_per_token(1e9, H100, recompute_fraction=1.0) / seconds_per_token(1e9, H100)
    assert again == pytest.approx(4 / 3)  # a second forward pass


def test_gradients_are_exchanged_in_fp32_after_each_step():
    """By hand: 4 bytes of a billion gradients, twice 7/8 of them over links of 450 GB/s; of two nodes over 8 cards."""
    assert exchange_seconds(1e9, H100, 1) == 0
    assert exchange_seconds(1e9, H100, 8) == pytest.approx(2 * 7 / 8 * 4e9 / (0.8 * 450e9))
    assert exchange_seconds(1e9, H100, 16) == pytest.approx(2 * 15 / 16 * 4e9 / (0.8 * min(450e9, 8 * 50e9)))
    with_it = seconds_per_token(1e9, H100, 8, 100_000) - seconds_per_token(1e9, H100, 8)
    assert with_it == pytest.approx(exchange_seconds(1e9, H100, 8) / 100_000)


@pytest.mark.parametrize("optim", [MUON, ADAMW], ids=["muon", "adamw"])
def test_memory_is_state_activations_and_the_drivers_context(optim):
    """By hand, of one sequence: bf16 inputs of norms and projections, heads, and the MLP's three products."""
    d_model, tokens = MODEL.d_model, MODEL.seq_len
    layer = 2 * (4 * d_model + 4 * MODEL.num_heads * MODEL.head_dim + 3 * MODEL.d_ff)
    comes_and_goes = tokens * (24 * layer + 4 * d_model + 14 * 65_536)
    expected = state_bytes(MODEL, optim) + 1.05 * comes_and_goes + 1.5e9
    assert gpu_memory(MODEL, optim, tokens).total == pytest.approx(expected)


def test_the_optimizers_state_is_divided_and_weights_and_gradients_are_whole():
    whole = 8 * count_parameters(MODEL).total
    moments = state_bytes(MODEL, MUON) - whole
    one, eight = (gpu_memory(MODEL, MUON, 2048, Mesh(replicate=num)).state for num in (1, 8))
    assert one - eight == pytest.approx(7 / 8 * moments)
    assert gpu_memory(MODEL, MUON, 2048, Mesh(shard=8)).state == pytest.approx((whole + moments) / 8)


def test_divided_weights_are_gathered_twice_and_summed_once():
    """A ring's gather or sum moves half of what its all-reduce does."""
    computing = seconds_per_token(1e9, H100, 8)
    whole, divided = (seconds_per_token(1e9, H100, 8, 100_000, is_divided=divided) for divided in (False, True))
    assert divided - computing == pytest.approx(1.5 * (whole - computing))


def test_recomputed_blocks_keep_their_input_alone():
    peaks = [gpu_memory(MODEL, MUON, 16 * 2048, None, part).total for part in (0.0, 0.5, 1.0)]
    assert peaks[0] > peaks[1] > peaks[2]
    assert peaks[1] - peaks[2] == pytest.approx(1.05 * 16 * 2048 * 12 * (gpu_layer() - 2 * MODEL.d_model))


def test_what_the_compiler_chooses_keeps_half_of_a_layer():
    none, half = (gpu_memory(MODEL, MUON, 64 * 2048, Mesh(), each).total for each in (0.0, "selective"))
    saved = 24 * gpu_layer() / 2 - max(0, gpu_layer() / 2 - 14 * 65_536 / 64)  # less the one layer that is recomputed
    assert none - half == pytest.approx(1.05 * 64 * 2048 * saved)


def gpu_layer():
    return 2 * (4 * MODEL.d_model + 4 * MODEL.num_heads * MODEL.head_dim + 3 * MODEL.d_ff)


@pytest.mark.parametrize("num_devices", [1, 6, 8, 64])
def test_the_batch_is_the_nearest_to_the_rules_with_the_largest_microbatch(num_devices):
    wanted, found = rows_of_batch(2e10, 2048), {}
    for micro in (1, 2, 4, 8, 16, 32):
        rows = num_devices * micro * max(1, round(wanted / (num_devices * micro)))
        if rows <= 2 * wanted:
            found[micro, rows] = abs(math.log(rows / wanted)), -micro
    assert batches(num_devices, wanted, 2048) == sorted(found, key=found.get)


def test_a_batch_500_times_too_big_is_none():
    assert batches(4096, 8, 2048) == []


def test_sizes_grow_along_the_dial_and_have_the_rules_shape():
    models = list(sizes("qwen3", 65_536, 2048))
    params = [count_parameters(model).total for model in models]
    assert params == sorted(params)
    for model in models:
        assert model.d_model == 64 * model.num_layers
        assert model.num_heads * model.head_dim == model.d_model


def test_no_device_of_the_table_holds_the_largest_size():
    largest = 8 * count_parameters(list(sizes("qwen3", 65_536, 2048))[-1]).total
    assert largest > max(device.memory_bytes for device in DEVICES.values())


def test_the_batch_is_that_of_the_rule():
    # nanochat's 2^19 tokens at ten billion, times 0.4 (optim.rules): 102 rows of 2048, and a power of two
    assert rows_of_batch(1e10, 2048) == 128
    assert rows_of_batch(1e3, 2048) == 8
