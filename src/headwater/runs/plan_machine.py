"""Step, memory, power and price of a run on the machine at hand: a processor here, one GPU in `plan_gpu`. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from headwater.config import RawSettings
from headwater.errors import ConfigError
from headwater.forecast.processor import constants
from headwater.forecast.processor_memory import Portion, memory_after_probe, run_memory
from headwater.forecast.result import Spread
from headwater.machine.host import cpu_flags, fast_dtype, gpu_name
from headwater.machine.memory import memory_bytes
from headwater.machine.settings import MachineSettings
from headwater.machine.threads import usable_cores
from headwater.numbers import plural
from headwater.optim.rules import RULES
from headwater.runs.plan_time import NO_PRICE, Machinery, Probe, StepTime, modelled_step, peaks_at, processor_step
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import token_bytes
from headwater.runs.times import StepShape
from headwater.train.settings import num_recomputed

if TYPE_CHECKING:
    from headwater.forecast.device import Device

NOMINAL_RATE = 1e11  # FLOP/s
SAME_MEMORY = 0.02
"Of the peaks of runs of one shape: three of first-light were within 0.2 % (2026-11-28); text may differ."
MOST_OF_MEMORY = 0.5
"Mapped pages of a text larger than memory come and go."


@dataclass(frozen=True)
class StartedRun:
    """What a run's own process knows before its first step: what it computes in, and the memory that it holds.

    The model and its optimizer are made; `held_bytes` is None where the system doesn't say.
    """

    dtype: str
    held_bytes: float | None


def machinery(config: RunConfig, probe: Probe | None = None, started: StartedRun | None = None) -> Machinery:
    """Return the numbers of the device that the run would take here.

    `started` is what this process knows, where it is the run's own.
    """
    device = gpu_to_use(config.machine.device)
    if device is None:
        return _processor(config, probe, started)
    from headwater.runs.plan_gpu import machinery_of_gpu  # layouts and their efficiencies: no processor needs them

    return machinery_of_gpu(config, device, microbatch_tokens(config), probe)


def microbatch_tokens(config: RunConfig) -> int:
    """Return the microbatch of the settings; the rule's where it will be measured at the run's start."""
    tokens = config.train.microbatch_tokens
    return rule_microbatch(config.train.batch_tokens, config.model.seq_len) if tokens == "auto" else tokens


def rule_microbatch(batch_tokens: int, seq_len: int) -> int:
    """Return the tokens of the microbatch that the rule sets."""
    given = {"train": {"batch_tokens": batch_tokens}, "model": {"seq_len": seq_len}}
    return int(RULES["train.microbatch_tokens"](RawSettings(given, {}))[0])


def _processor(config: RunConfig, probe: Probe | None, started: StartedRun | None) -> Machinery:
    cores, flags, spread = config.machine.num_threads or usable_cores(), cpu_flags(), constants()["log_deviation"]
    known = started or probe
    dtype = known.dtype if known else processor_dtype(config.machine, flags)
    step = processor_step(config, dtype, cores, flags, probe)
    memory, memory_how = _processor_memory(config, dtype, step, probe, started)
    watts = constants()["watts_per_core"]
    return Machinery(
        step=step,
        memory=memory,
        watts=Spread(watts * cores, spread["watts"]),
        usd_per_hour=None,
        how={"memory": memory_how, "power": f"{cores} cores × {watts:g} W", "price": NO_PRICE},
        memory_limit_bytes=memory_bytes(),
        is_processor=True,
    )


def _processor_memory(
    config: RunConfig, dtype: str, step: StepTime, probe: Probe | None, started: StartedRun | None
) -> tuple[Spread, str]:
    """Return the peak: of earlier runs of this shape, of a probe, by what the run's process holds, else by formula."""
    if step.peaks:
        runs = plural(len(step.peaks), "earlier run")
        return Spread(fmean(step.peaks), SAME_MEMORY), f"mean peak of {runs} of this shape here"
    deviation = constants()["log_deviation"]["memory"]
    text = min(token_bytes(config), MOST_OF_MEMORY * memory_bytes())
    if probe and probe.memory_bytes:
        return Spread(memory_after_probe(probe.memory_bytes, text), deviation), "the probe's peak, and text"
    tokens, held = microbatch_tokens(config), started.held_bytes if started else None
    portion = Portion(tokens, num_recomputed(config.train, config.model.num_layers), config.train.exact)
    peak = run_memory(config.model, config.optim, portion, dtype, text, held)  # type: ignore[arg-type]
    before = "libraries and text" if held is None else f"{held / 2**30:.3f} GiB held before the first step"
    return Spread(peak, deviation), f"{before}, 16 bytes a parameter, activations of {tokens} tokens in {dtype}"


def processor_dtype(machine: MachineSettings, flags: set[str]) -> str:
    if machine.dtype == "float8":
        raise ConfigError("machine.dtype is float8, which is for GPUs, and the run is planned for a processor here")
    if machine.dtype != "auto":
        return machine.dtype
    fast = fast_dtype(flags)
    return "bfloat16" if fast == "int8" and machine.compile == "off" else fast


def relative_step(config: RunConfig, dtype: str) -> float:
    """Return the seconds of a step in a unit of its own: only ratios between runs of one machine mean something."""
    device = gpu_to_use(config.machine.device)
    if device is not None:
        return machinery(config).step.seconds.median
    return modelled_step(StepShape.of(config), peaks_at(NOMINAL_RATE, dtype, cpu_flags()))


def gpu_to_use(wanted: str) -> Device | None:
    """Return the data sheet of the GPU that a run with `machine.device` = `wanted` takes here; None for a processor.

    Raises ConfigError where a GPU is wanted and there is none, or it isn't in the table.
    """
    name = gpu_name()
    if wanted == "cpu" or (wanted == "auto" and name is None):
        return None
    if name is None:
        raise ConfigError("machine.device is cuda and no GPU is found here; set machine.device to auto or cpu")
    from headwater.forecast.device import find_device, read_devices

    key = "".join(letter for letter in name.lower() if letter.isalnum())
    devices = read_devices()
    known = [alias for alias in devices if alias in key]
    return devices[max(known, key=len)] if known else find_device(name, devices)
