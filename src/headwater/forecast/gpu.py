"""What training takes on GPUs: seconds a token, batches, and what devices cost. No torch.

Time is a whole run's by the plainest rule, 6 FLOPs a parameter and token at 40 % of the bf16 peak: a model of the step
came no nearer to hours of published runs (docs/decisions/0038). headwater itself was never timed on a GPU.
"""

from __future__ import annotations

import math

from headwater.forecast.device import Accelerator
from headwater.forecast.result import DeviceGroup, Spread

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
MAX_MICROBATCH_TOKENS = 65_536
MAX_BATCH_FACTOR = 2.0
"""A batch that is further from the rule's isn't offered. A doubling costs 0.4 % of the loss: the grids of Step Law
(arXiv:2503.04715), 17 cells of about 110 runs."""


def seconds_per_token(params: float, device: Accelerator, num_devices: int = 1, recomputed: float = 0.0) -> float:
    """Return a whole run's time for a token by the rule, with what is recomputed; exchanges come on top."""
    return (6 + 2 * recomputed) * params / (USUAL_UTILISATION * device.bf16_flops * num_devices)


def batches(num_devices: int, wanted: int, seq_len: int) -> list[tuple[int, int]]:
    """Return rows of a microbatch and of a batch, a multiple of devices × microbatch, the best first.

    With the batch nearest to that of the rule, then the largest microbatch.
    """
    micros = [2**power for power in range(max(1, MAX_MICROBATCH_TOKENS // seq_len).bit_length())]
    units = [num_devices * micro for micro in micros]
    found = [(micro, unit * max(1, round(wanted / unit))) for micro, unit in zip(micros, units, strict=True)]
    near = [pair for pair in found if 1 / MAX_BATCH_FACTOR <= pair[1] / wanted <= MAX_BATCH_FACTOR]
    return sorted(near, key=lambda pair: (abs(math.log2(pair[1] / wanted)), -pair[0]))


def device_group(device: Accelerator, num_devices: int) -> DeviceGroup:
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
        hours_backtest=HOURS_BACKTEST,
    )
