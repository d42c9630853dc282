"""Step, memory, power and price of a run on one GPU. No torch."""

from __future__ import annotations

from headwater.forecast.device import Device, find_price
from headwater.forecast.efficiency import shipped_constants, shipped_efficiency
from headwater.forecast.layout import HEADWATER, Layout
from headwater.forecast.memory import CONTEXT_BYTES, estimate_memory
from headwater.forecast.processor import muon_flops, sizes_of
from headwater.forecast.result import NO_PRICE, Machinery, Spread, StepTime
from headwater.forecast.time import in_halves, step_seconds, step_work
from headwater.forecast.transformer import transformer_of
from headwater.runs.run_config import RunConfig
from headwater.runs.times import Measurement

GPU_MEASURED = 0.08  # from a measured step to a run's; a processor's, none was measured on a GPU


def machinery_of_gpu(
    config: RunConfig, device: Device, microbatch_tokens: int, measured: Measurement | None
) -> Machinery:
    """Return the numbers of the data sheet and of fitted efficiencies; the step as measured, where it was."""
    shape, train = transformer_of(config.model), config.train
    layout = Layout(
        num_devices=1,
        batch_rows=train.batch_tokens // config.model.seq_len,
        microbatch_rows=microbatch_tokens // config.model.seq_len,
        sharding="none",
        recompute="full" if train.recompute_fraction else "none",
        recomputed_layers=train.recompute_fraction or 1.0,
        precision="fp8" if config.machine.dtype == "float8" else "bf16",
        software=HEADWATER,
    )
    spread, price = shipped_constants()["spread"], find_price(device)
    if measured is None:
        sheet = "data sheet" if device.has_bf16 else "data sheet in fp16, which headwater doesn't train in,"
        step = Spread(_gpu_seconds(config, device, layout), spread["time"])
        step_time = StepTime(step, f"{device.name}'s {sheet} and fitted efficiencies")
    else:
        how = f"{measured.num_steps} steps measured now"
        step_time = StepTime(Spread(measured.step_seconds, GPU_MEASURED), how)
    return Machinery(
        step=step_time,
        memory=Spread(estimate_memory(shape, layout, config.optim.name).peak + CONTEXT_BYTES, spread["memory"]),
        watts=Spread(device.watts, spread["power"]),
        usd_per_hour=price.spread if price else None,
        how={
            "memory": f"state, activations and the driver's context on one {device.name}",
            "power": f"{device.name} at its limit of {device.watts:g} W",
            "price": f"{price.kind} price of {device.name}: {price.source}" if price else NO_PRICE,
        },
        memory_limit_bytes=device.memory_bytes,
        is_processor=False,
    )


def _gpu_seconds(config: RunConfig, device: Device, layout: Layout) -> float:
    efficiency, halved = shipped_efficiency(), config.train.half_length_fraction
    work = in_halves(step_work(transformer_of(config.model), layout, device), halved)
    matrices = sizes_of(config.model, config.optim.name == "muon", config.optim.block_rows, halved).matrices
    update = muon_flops(matrices, on_processor=False)
    return step_seconds(work, efficiency) + update / (
        device.bf16_flops * efficiency.matmul(device.architecture, "bf16")
    )
