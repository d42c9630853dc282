"""How long a step takes: computing, exchanging, waiting for the pipeline, updating. No torch.

`step_work` says what is to be done, in FLOPs, bytes and hops: sums by hand, nothing fitted. `step_seconds` divides it
by what the data sheet promises times a few measured efficiencies (`efficiency`).
"""

from __future__ import annotations

from dataclasses import dataclass

from costing.communication import Traffic, sharding_traffic, step_traffic, tensor_traffic
from costing.compute import Compute, device_params, microbatch_compute
from costing.device import Device
from costing.efficiency import Efficiency
from costing.layout import Attention, Layout, check_layout
from costing.transformer import Transformer

UPDATE_BYTES = 32
"An update reads weight, gradient and two moments, writes three of them, reads the gradient again for its norm: fp32."


@dataclass(frozen=True)
class StepWork:
    """What one device does in a step. `bubble` is the pipeline's waiting as a part of the time it works."""

    device: Device
    precision: str
    attention: Attention
    compute: Compute
    num_microbatches: int
    traffic: tuple[Traffic, ...]
    step_traffic: tuple[Traffic, ...]
    bubble: float
    update_bytes: float


def step_work(shape: Transformer, layout: Layout, device: Device) -> StepWork:
    """Return the work of a step; raise ConfigError when the layout can't be."""
    check_layout(layout, shape)
    params = device_params(shape, layout)
    updated = params / (1 if layout.sharding == "none" else layout.num_shards)  # a device's own shard
    traffic = (*tensor_traffic(shape, layout, device), *sharding_traffic(shape, layout, device, params))
    return StepWork(
        device=device,
        precision=layout.precision,
        attention=layout.software.attention,
        compute=microbatch_compute(shape, layout),
        num_microbatches=layout.num_microbatches,
        traffic=traffic,
        step_traffic=step_traffic(shape, layout, device, params),
        bubble=pipeline_bubble(layout),
        update_bytes=UPDATE_BYTES * updated,
    )


def pipeline_bubble(layout: Layout) -> float:
    """Return waiting over working time of 1F1B: (p - 1) / (v m), v parts a device (arXiv:2104.04473, section 2.2)."""
    return (layout.pipeline - 1) / (layout.virtual_stages * layout.num_microbatches)


def compute_seconds(work: StepWork, efficiency: Efficiency) -> float:
    """Return one microbatch's time on an otherwise idle device."""
    device, compute = work.device, work.compute
    clock = device.clock
    narrow = work.precision.split("-")[0]
    matmul = compute.matmul_flops / (device.bf16_flops * clock * efficiency.matmul(device.architecture, "bf16"))
    if compute.narrow_flops:
        peak = device.peak_flops(narrow) * clock
        matmul += compute.narrow_flops / (peak * efficiency.matmul(device.architecture, work.precision))
    attention_part = efficiency.attention(device.architecture, work.attention)
    attention = compute.attention_flops / (device.bf16_flops * clock * attention_part)
    return matmul + attention + compute.bytes / (device.memory_bandwidth * efficiency.constants["memory"])


def traffic_seconds(traffic: Traffic, efficiency: Efficiency) -> float:
    """Return the time of an exchange, alpha-beta: hops × latency + bytes / bandwidth."""
    part = efficiency.constants[traffic.wire]
    return traffic.hops * efficiency.constants["hop_seconds"] + traffic.bytes / (traffic.bandwidth * part)


def overlapped(computing: float, traffic: tuple[Traffic, ...], efficiency: Efficiency) -> float:
    """Return the time of computing with exchanges beside it and after it.

    What is hidden takes the longer of both, and a part of the shorter: the exchange needs memory and multiprocessors
    of the same device, and the first and last layers have nothing to hide behind.
    """
    hidden = sum(traffic_seconds(each, efficiency) for each in traffic if each.is_hidden)
    exposed = sum(traffic_seconds(each, efficiency) for each in traffic if not each.is_hidden)
    return max(computing, hidden) + (1 - efficiency.constants["overlap"]) * min(computing, hidden) + exposed


def step_seconds(work: StepWork, efficiency: Efficiency) -> float:
    """Return the time of one step."""
    microbatch = overlapped(compute_seconds(work, efficiency), work.traffic, efficiency)
    steady = work.num_microbatches * microbatch
    # gradients are reduced beside the last microbatch's backward pass, two thirds of it
    beside = 2 / 3 * microbatch
    reducing = overlapped(beside, work.step_traffic, efficiency) - beside
    update = work.update_bytes / (work.device.memory_bandwidth * efficiency.constants["memory"])
    return steady * (1 + work.bubble) + reducing + update
