"""Memory of a device: against the closed forms of arXiv:2205.05198 and 1910.02054, and against what must hold."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.core.tables import read_csv
from headwater.plan.forecast.device import find_device

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from costing.device import read_devices
from costing.layout import Layout, Software
from costing.memory import GRADIENT_BYTES, MASTER_BYTES, Stage, estimate_memory
from costing.transformer import Transformer

GIB = 2**30
COST = Path(__file__).parents[2] / "benchmarks/data/cost"
OLD = Software(attention="unfused")


def gpt(num_layers: int, d_model: int, heads: int, vocab_size: int = 51200, seq_len: int = 2048) -> Transformer:
    return Transformer(
        num_layers, d_model, heads, heads, d_model // heads, 4 * d_model, vocab_size, seq_len, 2, is_tied=True
    )


# layers, width, heads, pipeline, virtual stages, rows (arXiv:2205.05198, table 3)
KORTHIKANTI = {
    "22B": (48, 6144, 64, 1, 1, 4),
    "175B": (96, 12288, 96, 8, 3, 1),
    "530B": (105, 20480, 128, 35, 3, 1),
    "1T": (128, 25600, 160, 64, 1, 1),
}


@pytest.mark.parametrize(
    "row",
    [row for row in read_csv(COST / "activation_memory_korthikanti.csv") if row["mode"] != "none"],
    ids=lambda row: f"{row['model']}-{row['mode']}",
)
def test_activations_are_those_of_the_closed_form(row):
    num_layers, d_model, heads, pipeline, virtual_stages, rows = KORTHIKANTI[row["model"]]
    layout = Layout(
        num_devices=8 * pipeline,
        batch_rows=rows * 8 * pipeline,
        microbatch_rows=rows,
        tensor=8,
        pipeline=pipeline,
        virtual_stages=virtual_stages,
        sharding="none",
        recompute="selective",
        software=OLD,
    )
    stage = Stage(gpt(num_layers, d_model, heads), layout, is_first=True, is_last=False)
    assert stage.saved_bytes() / GIB == pytest.approx(float(row["act_GiB"]), rel=2e-3)


ZERO = {"none": 16.0, "zero1": 4 + 12 / 8, "zero2": 2 + 14 / 8}


@pytest.mark.parametrize("sharding", ZERO)
def test_state_is_that_of_the_zero_paper_with_fp32_gradients(sharding):
    """The paper counts bf16 gradients, 2 bytes; ours are summed in fp32, 2 more."""
    shape, devices = gpt(4, 128, 4), 8
    layout = Layout(devices, devices, 1, sharding=sharding)
    memory = estimate_memory(shape, layout)
    params = Stage(shape, layout, True, True)
    num = params.block_params + params.end_params
    more = 2 / (devices if sharding == "zero2" else 1)
    assert (memory.weights + memory.gradients + memory.optimizer) / num == pytest.approx(ZERO[sharding] + more)


def test_state_under_fsdp_is_a_shard():
    shape = gpt(8, 256, 4)
    whole, split = (estimate_memory(shape, Layout(n, n, 1, sharding="fsdp")) for n in (1, 16))
    for part in ("gradients", "optimizer"):
        assert getattr(split, part) == pytest.approx(getattr(whole, part) / 16)
    assert whole.gradients / whole.optimizer == GRADIENT_BYTES / (MASTER_BYTES + 8)


def test_a_split_sequence_gathers_keys_and_values_of_two_layers():
    """By hand: 2 bytes, keys and values, forward again and backward."""
    layout = Layout(8, 1, 1, context=8, recompute="full", software=Software(repeats_keys=True))
    shape = Transformer(4, 1024, 16, 4, 64, 4096, 1000, 65536)
    stage = Stage(shape, layout, is_first=True, is_last=True)
    assert stage.whole_sequence_bytes() == 2 * 2 * (2 * 2 * 65536 * 16 * 64)
    once = replace(layout, recompute="none", software=Software())
    assert Stage(shape, once, is_first=True, is_last=True).whole_sequence_bytes() == 2 * (2 * 2 * 65536 * 4 * 64)
    alone = replace(layout, context=1)
    assert Stage(shape, alone, is_first=True, is_last=True).whole_sequence_bytes() == 0


def test_devices_have_the_memory_that_their_driver_reports():
    """GiB that programs print of such devices; a gigabyte of a name is 2**30 bytes, less what the driver keeps."""
    devices = read_devices()
    for name, gib in {"V100": 31.75, "A100-40GB": 39.49, "A100-80GB": 79.15, "H100": 79.18, "H200": 139.8}.items():
        assert find_device(name, devices).memory_bytes / GIB == pytest.approx(gib, rel=1e-3)
