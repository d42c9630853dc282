"""Time of a step: bubbles against a simulated pipeline, and hardware rates by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headwater.plan.forecast.device import find_device

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from costing.compute import cast_bytes, microbatch_compute
from costing.device import read_devices
from costing.efficiency import Efficiency
from costing.layout import Layout, Software
from costing.step_time import pipeline_bubble, step_seconds, step_work
from costing.transformer import Transformer

DEVICES = read_devices()
H100 = find_device("H100", DEVICES)
SHAPE = Transformer(32, 4096, 32, 8, 128, 14336, 32000, 4096)
PERFECT = Efficiency(
    {
        **dict.fromkeys(("matmul_ampere", "matmul_hopper", "matmul_fp8", "matmul_fp8_rowwise"), 1.0),
        **dict.fromkeys(("attention_ampere", "attention_hopper", "second_flash_gain", "links", "network"), 1.0),
        "memory": 1e9,  # free
        "overlap": 1.0,
        "hop_seconds": 0.0,
    }
)
"What microbenchmarks of such devices are known for."


def hardware_flops(again: float = 0.0, is_flash: bool = True) -> float:
    """FLOPs of a token by hand: products, attention, what its kernel computes again, and `again` of the forward."""
    causal, full = SHAPE.attention_flops
    core = 3.5 * causal + again * causal if is_flash else (3 + again) * full
    return 6 * (SHAPE.block_weights + SHAPE.head_weights) + 2 * again * SHAPE.block_weights + core


def simulated_pipeline(stages: int, microbatches: int) -> float:
    """Run 1F1B slot by slot, forward and backward of a microbatch taking 1 and 2; return idle over busy time."""
    orders = []
    for stage in range(stages):
        warm = min(stages - stage - 1, microbatches)
        order = [("F", index) for index in range(warm)]
        for index in range(microbatches - warm):
            order += [("F", warm + index), ("B", index)]
        orders.append(order + [("B", index) for index in range(microbatches - warm, microbatches)])
    done: dict[tuple[str, int, int], float] = {}
    free, places = [0.0] * stages, [0] * stages
    while any(place < len(order) for place, order in zip(places, orders, strict=True)):
        for stage in range(stages):
            if places[stage] == len(orders[stage]):
                continue
            kind, index = orders[stage][places[stage]]
            before = ("F", stage - 1, index) if kind == "F" else ("B", stage + 1, index)
            if before[1] in range(stages) and before not in done:
                continue
            if kind == "B" and stage == stages - 1 and ("F", stage, index) not in done:
                continue
            start = max(free[stage], done.get(before, 0.0))
            free[stage] = done[(kind, stage, index)] = start + (1 if kind == "F" else 2)
            places[stage] += 1
    return max(free) / (3 * microbatches) - 1


@pytest.mark.parametrize(("stages", "microbatches"), [(1, 4), (2, 2), (4, 8), (8, 8), (4, 32)])
def test_the_bubble_is_that_of_a_simulated_pipeline(stages, microbatches):
    layout = Layout(stages, microbatches, 1, pipeline=stages)
    assert pipeline_bubble(layout) == pytest.approx(simulated_pipeline(stages, microbatches))


@pytest.mark.parametrize("recompute", ["none", "full"])
def test_recomputation_costs_its_hardware_flops(recompute):
    layout = Layout(1, 1, 1, sharding="none", recompute=recompute)
    seconds = step_seconds(step_work(SHAPE, layout, H100), PERFECT)
    assert seconds == pytest.approx(
        hardware_flops(1.0 if recompute == "full" else 0.0) * 4096 / H100.bf16_flops, rel=1e-6
    )


@pytest.mark.parametrize("part", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("is_flash", [True, False])
def test_the_hardware_rate_counts_the_layers_that_are_recomputed(part, is_flash):
    """Against the work that the time of a step is made of."""
    software = Software(attention="flash-2" if is_flash else "unfused")
    layout = Layout(1, 2, 2, sharding="none", recompute="full", recomputed_layers=part, software=software)
    work = microbatch_compute(SHAPE, layout)
    done = (work.matmul_flops + work.attention_flops) / layout.microbatch_tokens(SHAPE.seq_len)
    assert hardware_flops(part, is_flash) == pytest.approx(done, rel=1e-9)


@pytest.mark.parametrize(("precision", "inputs_split", "passes"), [("fp8", 8, 5), ("fp8-rowwise", 1, 10)])
def test_casts_are_of_what_a_tensor_parallel_device_has_in_hand(precision, inputs_split, passes):
    """Product by product, by hand: gathered inputs are cast whole unless one scale lets them be cast before."""
    layout = Layout(8, 8, 1, tensor=8, precision=precision)
    firsts = [(4096, 4096), (1024, 4096), (1024, 4096), (14336, 4096), (14336, 4096)]
    lasts = [(4096, 4096), (4096, 14336)]
    width = sum(num_in / inputs_split + num_out / 8 for num_out, num_in in firsts)
    width += sum(num_in / 8 + num_out for num_out, num_in in lasts)
    assert cast_bytes(SHAPE, layout) == pytest.approx(passes * 32 * 4096 * width)
