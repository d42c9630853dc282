"""Step, memory, power and price of a run on one GPU. No torch."""

from __future__ import annotations

from headwater.forecast.device import Device
from headwater.forecast.gpu import HOURS_DEVIATION, MEMORY_DEVIATION, POWER_DEVIATION, gpu_memory, seconds_per_token
from headwater.forecast.result import Machinery, Spread, StepTime
from headwater.model.count import count_parameters
from headwater.runs.run_config import RunConfig
from headwater.runs.times import Measurement

GPU_MEASURED = 0.08  # from a measured step to a run's; a processor's, none was measured on a GPU


def machinery_of_gpu(
    config: RunConfig, device: Device, microbatch_tokens: int, measured: Measurement | None
) -> Machinery:
    """Return the numbers by the rules that a search over a budget has; the step as measured, where it was."""
    train, recompute = config.train, config.train.recompute_fraction
    per_token = seconds_per_token(count_parameters(config.model).total, device, recompute_fraction=recompute)
    seconds = Spread(per_token * train.batch_tokens, HOURS_DEVIATION)
    step = StepTime(seconds, f"40 % of the 16-bit peak of {device.name}")
    if measured is not None:
        step = StepTime(Spread(measured.step_seconds, GPU_MEASURED), f"{measured.num_steps} steps measured now")
    peak = gpu_memory(config.model, config.optim, microbatch_tokens, recompute_fraction=recompute)
    return Machinery(
        step=step,
        memory=Spread(peak, MEMORY_DEVIATION),
        watts=Spread(device.watts, POWER_DEVIATION),
        usd_per_hour=device.usd_per_hour,
        how={
            "memory": f"state, activations and the driver's context on one {device.name}",
            "power": f"{device.name} at its limit of {device.watts:g} W",
            "price": device.price_how,
        },
        memory_limit_bytes=device.memory_bytes,
        is_processor=False,
    )
