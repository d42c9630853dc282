"""What training takes on GPUs, on one or on several that each hold the model: seconds a token, and memory. No torch.

Time is a whole run's by the plainest rule, 6 FLOPs a parameter and token at 40 % of the bf16 peak: a model of the step
came no nearer to hours of published runs (docs/decisions/0038). headwater itself was never timed on a GPU.
"""

from __future__ import annotations

import math
from typing import Literal

from headwater.forecast.device import Device
from headwater.forecast.processor_memory import PeakBytes, exchanged_bytes, state_bytes
from headwater.forecast.result import DeviceGroup, Spread
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import Mesh

USUAL_UTILISATION = 0.4
HOURS_BACKTEST = {"runs": 25, "median": 0.192, "p90": 0.38}
"How far hours of whole published runs lie from the rule (benchmarks/cost_backtest.py)."
HOURS_HOW = (
    f"6 FLOPs a parameter and token at 40 % of the bf16 peak: {HOURS_BACKTEST['runs']} published whole runs were "
    f"{HOURS_BACKTEST['median']:.0%} off in the median, {HOURS_BACKTEST['p90']:.0%} at P90; four of five lie in P10 to "
    "P90. headwater itself was never timed on such devices, and float8 is planned at the speed of bf16"
)
HOURS_DEVIATION, MEMORY_DEVIATION, POWER_DEVIATION = 0.2686, 0.0356, 0.0898
"Of the logarithm: P10 to P90 hold 80 % of the published ones, the model of a cluster's memory being theirs."
WIRE_UTILISATION = 0.8
"Of the data sheet's bandwidth; as it was fitted on published layouts."
GRADIENT_BYTES = 4
CONTEXT_BYTES = 1.5e9
"CUDA and NCCL: 1 to 2 GB a process."
SLACK_FRACTION = 0.05
"What an allocator holds beyond the tensors that come and go: planners add 5 to 10 %; not fitted."
LOGIT_BYTES, LOSS_TOKENS = 14, 2048
"Bytes of a logit at the peak of the loss (bf16, fp32, log-softmax, gradient), and the tokens of its chunks."
SELECTIVE_BUDGET = 0.5
"Of a layer's bytes, what the compiler may keep with train.recompute selective (`model.compiled`)."
MAX_MICROBATCH_TOKENS = 65_536
MAX_BATCH_FACTOR = 2.0
"""A batch that is further from the rule's isn't offered. A doubling costs 0.4 % of the loss: the grids of Step Law
(arXiv:2503.04715), 17 cells of about 110 runs."""


def seconds_per_token(
    params: float,
    device: Device,
    num_devices: int = 1,
    batch_tokens: float = math.inf,
    recompute_fraction: float = 0.0,
    *,
    is_divided: bool = False,
) -> float:
    """Return a whole run's time for a token: by the rule, and what the gradients' exchange adds to each step.

    Weights that are divided are gathered twice, and their gradients summed once: half as much again.

    Published programs exchange beside the backward pass, headwater after it.
    """
    flops = (6 + 2 * recompute_fraction) * params
    computing = flops / (USUAL_UTILISATION * device.bf16_flops * num_devices)
    return computing + (1.5 if is_divided else 1.0) * exchange_seconds(params, device, num_devices) / batch_tokens


def exchange_seconds(params: float, device: Device, num_devices: int) -> float:
    """Return the time of a ring's all-reduce of the gradients: (n - 1) / n of them pass each device twice."""
    node = device.node_size
    bandwidth = device.links if num_devices <= node else min(device.links, device.network * node)
    sent = 2 * (num_devices - 1) / num_devices * GRADIENT_BYTES * params
    return sent / (WIRE_UTILISATION * bandwidth)


def gpu_memory(
    model: ModelSettings,
    optim: OptimSettings,
    microbatch_tokens: int,
    mesh: Mesh | None = None,
    recompute: float | Literal["selective"] = 0.0,
) -> PeakBytes:
    """Return the peak of one device: fp32 weights and gradients divided by shards, the optimizer's by all ranks.

    What is recomputed selectively leaves the part that the compiler is allowed.
    """
    mesh = mesh or Mesh()
    query, key_value = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
    num_mlp_matrices = 2 if model.family == "gpt2" else 3
    kept = 2 * model.d_model
    whole = layer_bytes_per_token(model.d_model, query, key_value, model.d_ff, num_mlp_matrices)
    weights_and_gradients = 2 * 4 * count_parameters(model).total
    state = weights_and_gradients / mesh.shard
    state += (state_bytes(model, optim) - weights_and_gradients) / mesh.world_size
    left, again = (SELECTIVE_BUDGET * whole, 1.0) if recompute == "selective" else (kept, recompute)
    layers = model.num_layers * (again * left + (1 - again) * whole)
    saved = microbatch_tokens * (layers + 2 * kept)  # and the last norm's input and output
    repeated = microbatch_tokens * (whole - left) if again else 0.0
    loss = min(microbatch_tokens, LOSS_TOKENS) * LOGIT_BYTES * model.vocab_size
    activations = (1 + SLACK_FRACTION) * (saved + max(repeated, loss))
    return PeakBytes(CONTEXT_BYTES, state, exchanged_bytes(model, mesh, 2 if optim.name == "muon" else 0), activations)


def layer_bytes_per_token(d_model: int, query_width: int, kv_width: int, d_ff: int, num_mlp_matrices: int) -> int:
    """Return bytes that a token's backward pass through a layer needs, in bf16 (after arXiv:2205.05198, section 4).

    Inputs of the norms and of the projections after them; queries, keys, values, the output of flash attention, which
    keeps no scores; the MLP's products.
    """
    return 2 * (4 * d_model + 2 * query_width + 2 * kv_width + num_mlp_matrices * d_ff)


def batches(num_devices: int, wanted: int, seq_len: int) -> list[tuple[int, int]]:
    """Return rows of a microbatch and of a batch, a multiple of devices × microbatch, the best first.

    With the batch nearest to that of the rule, then the largest microbatch.
    """
    micros = [2**power for power in range(max(1, MAX_MICROBATCH_TOKENS // seq_len).bit_length())]
    units = [num_devices * micro for micro in micros]
    found = [(micro, unit * max(1, round(wanted / unit))) for micro, unit in zip(micros, units, strict=True)]
    near = [pair for pair in found if 1 / MAX_BATCH_FACTOR <= pair[1] / wanted <= MAX_BATCH_FACTOR]
    return sorted(near, key=lambda pair: (abs(math.log2(pair[1] / wanted)), -pair[0]))


def device_group(device: Device, num_devices: int) -> DeviceGroup:
    """Return what these devices cost, draw and hold."""
    return DeviceGroup(
        device=device.name,
        hours_how=HOURS_HOW,
        watts=Spread(device.watts, POWER_DEVIATION),
        power_how=f"{device.name} at its limit of {device.watts:g} W",
        price_how=device.price_how,
        memory_limit=device.memory_bytes,
        usd_per_hour=device.usd_per_hour,
        num_devices=num_devices,
        node_size=device.node_size,
        hours_backtest=HOURS_BACKTEST,
    )
