"""Sizes on devices of a table: against trying every batch, microbatch and recomputation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy.special import ndtri

from headwater.errors import ConfigError
from headwater.forecast.candidate import model_of, sizes, wanted_rows
from headwater.forecast.cluster import LOSS_PER_LOG_TOKENS, Cluster
from headwater.forecast.device import find_device, read_devices
from headwater.forecast.efficiency import shipped_constants, shipped_efficiency
from headwater.forecast.layout import HEADWATER, Layout
from headwater.forecast.memory import estimate_memory
from headwater.forecast.time import USUAL_UTILISATION, in_halves, step_seconds, step_work
from headwater.forecast.transformer import transformer_of

DEVICES = read_devices()
H100 = find_device("H100", DEVICES)


@pytest.mark.parametrize("num_devices", [1, 6, 8, 64])
@pytest.mark.parametrize("max_memory", [None, 40e9])
def test_the_step_is_the_best_of_every_one_that_fits(num_devices, max_memory):
    model, tokens = model_of(24, "qwen3", 65_536, 2048), 2e10
    cluster = Cluster(num_devices, H100, max_memory, half_length_fraction=0.0)
    found, shape, wanted = cluster.best_step(model, tokens), transformer_of(model), wanted_rows(tokens, 2048)
    usable = cluster.usable_memory / math.exp(ndtri(0.9) * shipped_constants()["spread"]["memory"])
    best = math.inf
    for rows in (1, 2, 4, 8, 16, 32):
        unit = num_devices * rows
        for part in (0.0, 0.5, 1.0):
            layout = Layout(
                num_devices, unit * max(1, round(wanted / unit)), rows, sharding="none" if num_devices == 1 else "zero1",
                recompute="full" if part else "none", recomputed_layers=part or 1.0, software=HEADWATER,
            )  # fmt: skip
            if estimate_memory(shape, layout, "muon").needed > usable or layout.batch_rows > 4 * wanted:
                continue
            seconds = step_seconds(in_halves(step_work(shape, layout, H100), 0.0), shipped_efficiency())
            regret = 0.0039 * math.log2(layout.batch_rows / wanted) ** 2
            best = min(best, math.log(seconds / layout.batch_rows) + regret / LOSS_PER_LOG_TOKENS)
    # Muon's products, which the search counts besides, take some per cent
    assert best < found.score < best + 0.1
    assert found.memory.needed <= usable


def test_what_fits_nowhere_is_none():
    assert Cluster(8, H100).candidate(model_of(96, "qwen3", 65_536, 2048), 1e10) is None
    assert Cluster(4096, H100).candidate(model_of(8, "qwen3", 65_536, 2048), 1e6) is None  # a batch 500 times too big


def test_memory_is_muons_with_weights_whole_on_each_rank():
    one, eight = (Cluster(n, H100).best_step(model_of(24, "qwen3", 65_536, 2048), 1e10).memory for n in (1, 8))
    assert one.weights == eight.weights
    assert one.gradients == eight.gradients
    assert one.optimizer == pytest.approx(8 * eight.optimizer)


def test_a_run_is_never_faster_than_the_usual_utilisation():
    for model in list(sizes("qwen3", 65_536, 2048))[:24]:
        found = Cluster(8, H100).candidate(model, 1e10)
        if found is not None:
            usual = 6 * found.params / (USUAL_UTILISATION * 8 * H100.bf16_flops)
            assert found.seconds_per_token >= usual


def test_devices_that_headwater_cant_train_on_are_refused():
    with pytest.raises(ConfigError, match="V100-SXM2 multiplies no bf16"):
        Cluster(8, find_device("V100", DEVICES))
    with pytest.raises(ConfigError, match="A100-SXM-80 multiplies no fp8"):
        Cluster(8, find_device("A100", DEVICES), precision="fp8")


def test_fp8_costs_loss():
    model = model_of(24, "qwen3", 65_536, 2048)
    bf16 = Cluster(8, H100)
    narrow = replace(bf16, precision="fp8").candidate(model, 1e10)
    assert narrow.log_penalty - bf16.candidate(model, 1e10).log_penalty == pytest.approx(0.0025, rel=0.01)
    assert narrow.extra_settings["machine.dtype"] == "float8"


def test_sizes_grow_along_the_dial_and_have_the_rules_shape():
    models = list(sizes("qwen3", 65_536, 2048))
    params = [transformer_of(model).block_weights for model in models]
    assert params == sorted(params)
    for model in models:
        assert model.d_model == 64 * model.num_layers
        assert model.num_heads * model.head_dim == model.d_model


def test_the_batch_is_that_of_the_rule():
    # nanochat's 2^19 tokens at ten billion, times 0.4 (optim.rules): 102 rows of 2048, and a power of two
    assert wanted_rows(1e10, 2048) == 128
    assert wanted_rows(1e3, 2048) == 8
