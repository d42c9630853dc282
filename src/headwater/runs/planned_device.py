"""Step time, memory, power and price of a run on the machine at hand: a processor, or one GPU. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headwater.config import RawSettings
from headwater.errors import ConfigError
from headwater.forecast.device import Device, find_device, read_devices
from headwater.forecast.efficiency import shipped_constants, shipped_efficiency
from headwater.forecast.energy import mean_watts
from headwater.forecast.forecast_run import Spread
from headwater.forecast.layout import HEADWATER, Layout
from headwater.forecast.memory import CONTEXT_BYTES, estimate_memory
from headwater.forecast.money import find_price
from headwater.forecast.processor import constants, muon_flops
from headwater.forecast.processor_memory import Portion, processor_memory
from headwater.forecast.shape import shape_of
from headwater.forecast.time import in_halves, step_work
from headwater.forecast.time import step_seconds as device_step_seconds
from headwater.machine.host import cpu_flags, fast_dtype, gpu_name
from headwater.machine.threads import usable_cores
from headwater.optim.rules import RULES
from headwater.runs.earlier_runs import shape_of_steps
from headwater.runs.planned_around import around_of_run
from headwater.runs.planned_step import Probe, modelled_step, peaks_at, processor_step, sizes_of_steps
from headwater.runs.run_config import RunConfig
from headwater.scaling.arrays import Z_P90
from headwater.train.settings import num_recomputed

NOMINAL_RATE = 1e11  # FLOP/s
GPU_PROBED = 0.08  # from a measured step to a run's; a processor's, none was measured on a GPU
NO_PRICE = "no price is known for this machine: give price_per_hour in a costs file (--costs)"


@dataclass(frozen=True)
class StartedRun:
    """What a run's own process knows before its first step: what it computes in, and the memory that it holds.

    The model and its optimizer are made; `held_bytes` is None where the system doesn't say.
    """

    dtype: str
    held_bytes: float | None


@dataclass(frozen=True)
class Machinery:
    """What the machine says of a run. `memory_limit_bytes` is a GPU's, None for the machine's own memory."""

    step: Spread
    step_how: str
    memory: Spread
    memory_how: str
    watts: Spread
    watts_how: str
    usd_per_hour: Spread | None
    price_how: str
    memory_limit_bytes: float | None

    @property
    def is_processor(self) -> bool:
        return self.memory_limit_bytes is None


def machinery(config: RunConfig, probe: Probe | None, started: StartedRun | None = None) -> Machinery:
    """Return the numbers of the device that the run would take here.

    `started` is what this process knows, where it is the run's own.
    """
    device = gpu_to_use(config.machine.device)
    return _processor(config, probe, started) if device is None else _gpu(config, device, probe)


def microbatch_tokens(config: RunConfig) -> int:
    """Return the microbatch of the settings; the rule's where it will be measured at the run's start."""
    tokens = config.train.microbatch_tokens
    if tokens != "auto":
        return tokens
    return rule_microbatch(config.train.batch_tokens, config.model.seq_len)


def rule_microbatch(batch_tokens: int, seq_len: int) -> int:
    """Return the tokens of the microbatch that the rule sets."""
    given = {"train": {"batch_tokens": batch_tokens}, "model": {"seq_len": seq_len}}
    return int(RULES["train.microbatch_tokens"](RawSettings(given, {}))[0])


def _processor(config: RunConfig, probe: Probe | None, started: StartedRun | None) -> Machinery:
    cores = config.machine.num_threads or usable_cores()
    spread, flags = constants()["log_deviation"], cpu_flags()
    known = started or probe
    dtype = known.dtype if known else processor_dtype(config, flags)
    portion_tokens = microbatch_tokens(config)
    recomputed = num_recomputed(config.train, config.model.num_layers)
    portion = Portion(portion_tokens, recomputed, num_threads=cores, exact=config.train.exact)
    around = around_of_run(config)
    memory = processor_memory(config.model, config.optim, portion, dtype, around=around)  # type: ignore[arg-type]
    peak, memory_how = memory.peak, "libraries, text, weights, optimizer"
    if probe and probe.memory_bytes:
        peak, memory_how = memory.peak_with(probe.memory_bytes), "the probe's process, text"
    elif started and started.held_bytes is not None:
        peak = memory.peak_from(started.held_bytes)
        memory_how = f"{started.held_bytes / 2**30:.3f} GiB held before the first step"
    step, step_how = processor_step(config, dtype, cores, flags, probe)
    return Machinery(
        step=step,
        step_how=step_how,
        memory=Spread(peak, spread["memory"]),
        memory_how=f"{memory_how}, casts in {dtype}, gradients, activations of {portion_tokens} tokens, probes",
        watts=Spread(constants()["watts_per_core"] * cores, spread["watts"]),
        watts_how=f"{cores} cores × {constants()['watts_per_core']:g} W, a server processor's power by core",
        usd_per_hour=None,
        price_how=NO_PRICE,
        memory_limit_bytes=None,
    )


def processor_dtype(config: RunConfig, flags: set[str]) -> str:
    if config.machine.dtype == "float8":
        raise ConfigError("machine.dtype is float8, which is for GPUs, and the run is planned for a processor here")
    if config.machine.dtype != "auto":
        return config.machine.dtype
    fast = fast_dtype(flags)
    return "bfloat16" if fast == "int8" and config.machine.compile == "off" else fast


def relative_step(config: RunConfig, dtype: str) -> float:
    """Return the seconds of a step in a unit of its own: only ratios between runs of one machine mean something."""
    device = gpu_to_use(config.machine.device)
    if device is not None:
        return _gpu(config, device, None).step.median
    return modelled_step(shape_of_steps(config), peaks_at(NOMINAL_RATE, dtype, cpu_flags()))


def gpu_to_use(wanted: str) -> Device | None:
    """Return the data sheet of the GPU that a run with `machine.device` = `wanted` takes here; None for a processor.

    Raises ConfigError where a GPU is wanted and there is none, or it isn't in the table.
    """
    name = gpu_name()
    if wanted == "cpu" or (wanted == "auto" and name is None):
        return None
    if name is None:
        raise ConfigError("machine.device is cuda and no GPU is found here; set machine.device to auto or cpu")
    key = "".join(letter for letter in name.lower() if letter.isalnum())
    devices = read_devices()
    known = [alias for alias in devices if alias in key]
    return devices[max(known, key=len)] if known else find_device(name, devices)


def _gpu(config: RunConfig, device: Device, probe: Probe | None) -> Machinery:
    shape, train = shape_of(config.model), config.train
    layout = Layout(
        num_devices=1,
        batch_rows=train.batch_tokens // config.model.seq_len,
        microbatch_rows=microbatch_tokens(config) // config.model.seq_len,
        sharding="none",
        recompute="full" if train.recompute_fraction else "none",
        recomputed_layers=train.recompute_fraction or 1.0,
        precision="fp8" if config.machine.dtype == "float8" else "bf16",
        software=HEADWATER,
    )
    spread, efficiency = shipped_constants()["spread"], shipped_efficiency()
    work = in_halves(step_work(shape, layout, device), train.half_length_fraction)
    seconds = device_step_seconds(work, efficiency)
    update = muon_flops(sizes_of_steps(shape_of_steps(config), train.half_length_fraction).matrices, on_processor=False)
    seconds += update / (device.bf16_flops * efficiency.matmul(device.architecture, "bf16"))
    sheet = "data sheet" if device.has_bf16 else "data sheet in fp16, which headwater doesn't train in (--probe),"
    step, step_how = Spread(seconds, spread["time"]), f"{device.name}'s {sheet} and fitted efficiencies"
    if probe is not None:
        shapes = constants()["log_deviation"]["step_shape"] if probe.of_another_shape else 0.0
        step, step_how = Spread(probe.step_seconds, math.hypot(GPU_PROBED, probe.log_deviation, shapes)), probe.how
    price = find_price(device)
    usd = None if price is None else Spread(price.usd_per_hour, math.log(price.high / price.low) / (2 * Z_P90))
    return Machinery(
        step=step,
        step_how=step_how,
        memory=Spread(estimate_memory(shape, layout, config.optim.name).peak + CONTEXT_BYTES, spread["memory"]),
        memory_how=f"plan.memory on one {device.name}, with the driver's context",
        watts=Spread(mean_watts(device, shipped_constants()["constants"]["power_part"]), spread["power"]),
        watts_how=f"{device.name} at its limit of {device.watts:g} W",
        usd_per_hour=usd,
        price_how=NO_PRICE if price is None else f"{price.kind} price of {device.name}: {price.source}",
        memory_limit_bytes=device.memory_bytes,
    )
