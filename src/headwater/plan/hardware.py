"""What hardware computes, holds and costs: one description for the plan of a run and for a search over a budget.

On a processor a step's time is the mean of what earlier runs of this shape took here, those of the ladder among them.
Without any it is that of `forecast.processor`, times what steps of other shapes took over theirs. GPUs, here or of a
table, go by the rules of `forecast.device`. No torch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from headwater.core.config import Settings
from headwater.core.errors import ConfigError
from headwater.core.numbers import plural
from headwater.machine.device.settings import MachineSettings
from headwater.machine.host.facts import (
    cpu_flags,
    fast_dtype,
    float32_rate_per_core,
    gpu_name,
    memory_bytes,
    usable_cores,
)
from headwater.machine.ranks.mesh import DATA_AXES, Layout
from headwater.model.count import count_parameters
from headwater.plan.forecast import processor
from headwater.plan.forecast.processor import USUAL, Peaks, constants, kind_of, measured_kind, step_seconds
from headwater.plan.forecast.rank_memory import gpu_memory
from headwater.plan.forecast.result import NO_PRICE, PUE, DeviceGroup, PeakBytes, Spread, StepWork
from headwater.plan.text_size import synthetic_sources
from headwater.plan.times import MeasuredSteps, earlier_runs, flops_of_step, speed_here, step_key
from headwater.runfile.checking import validate
from headwater.runfile.given import read_settings
from headwater.runfile.run_config import RunConfig
from headwater.train.settings import even_microbatch, fraction_repeated, recompute_of

if TYPE_CHECKING:
    from headwater.plan.forecast.device import Accelerator

RUN_TO_RUN = 0.065
"Spread of the log of a run's mean step on one machine: a virtual machine drifts (docs/log.md, 2026-11-28)."
NUM_NEWEST = 10  # measurements that count: machine and code may change
SAME_MEMORY = 0.02
"Of the peaks of runs of one shape: three of first-light were within 0.2 % (2026-11-28); text may differ."
MOST_OF_MEMORY = 0.5
"Mapped pages of a text larger than memory come and go."
PROCESSOR_HOURS = "from the steps of earlier runs here, or from a model of this processor"


@dataclass(frozen=True)
class Needs:
    """What a run needs, each with its source."""

    step: Spread
    step_how: str
    memory: Spread
    memory_how: str


@dataclass(frozen=True)
class Processor:
    """The processor here, and what earlier runs took on it."""

    dtype: str
    peaks: Peaks
    runs: tuple[MeasuredSteps, ...]
    devices: DeviceGroup
    ranks: Layout = field(default_factory=Layout)

    def needs(self, config: RunConfig, text_bytes: float = 0.0) -> Needs:
        """Return what a run with a token store of so many bytes needs; memory is that of each rank."""
        key = step_key(config)
        own = [run for run in self.runs if run.shape == key][:NUM_NEWEST]
        if own:
            step = _mean([run.step_seconds for run in own])
            how = f"mean of {plural(len(own), 'earlier run')} of this shape here"
        else:
            newest, spread = self.runs[:NUM_NEWEST], constants()["log_deviation"]
            ratios = [each.step_seconds / step_seconds(each.flops, each.d_model, self.peaks) for each in newest]
            usual = _mean(ratios) if ratios else Spread(1.0, spread["step"])
            modelled = self.modelled(config) * (1 + waiting(config, self.ranks))
            step = usual.times(Spread(modelled, spread["step_shape"]))
            part = processor.utilisation(config.model.d_model, self.peaks.dtype, self.peaks.kind)
            how = f"modelled: steps of this width reach {part:.0%} of this processor's peak, {self.peaks.how}"
            how = f"modelled, times {usual.median:.2f} as measured on other shapes here" if self.runs else how
        memory, memory_how = self._memory(config, text_bytes, [each for run in own if (each := run.peak_memory_bytes)])
        if self.ranks.mesh.world_size > 1:
            step = step.scaled(1 / self.ranks.num_machines)
            how += f", on {plural(self.ranks.num_machines, 'machine')}; what ranks exchange isn't counted"
        return Needs(step, how, memory, memory_how)

    def modelled(self, config: RunConfig) -> float:
        """Return the seconds of a step by its FLOPs and the measured part of the peak."""
        return step_seconds(flops_of_step(config), config.model.d_model, self.peaks)

    def _memory(self, config: RunConfig, text_bytes: float, peaks: Sequence[float]) -> tuple[Spread, str]:
        """Return the mean peak of earlier runs of this shape, else the peak by formula."""
        is_alone = self.ranks.mesh.world_size == 1
        if peaks and is_alone:
            how = f"mean peak of {plural(len(peaks), 'earlier run')} of this shape here"
            return Spread(fmean(peaks), SAME_MEMORY), how
        peak = processor_peak(config, self.dtype, text_bytes, self.ranks)
        tokens = work_of(config, self.ranks).microbatch_tokens
        how = f"libraries, text, weights and their state twice (for saves), a step of {tokens} tokens in {self.dtype}"
        how = how if is_alone else f"of each rank: {peak}"
        return Spread(peak.total, constants()["log_deviation"]["memory"]), how


@dataclass(frozen=True)
class Gpus:
    """One GPU or several, by the rules of `forecast.device`; `pue` is what cooling them takes."""

    ranks: Layout
    device: Accelerator
    pue: float = 1.0
    dtype: ClassVar[str] = "bf16"

    @property
    def devices(self) -> DeviceGroup:
        return self.device.group(self.ranks.mesh.world_size, self.pue)

    def needs(self, config: RunConfig, text_bytes: float = 0.0) -> Needs:
        """Return what a run needs of each device. Text is in the host's memory."""
        from headwater.plan.forecast.device import HOURS_DEVIATION, MEMORY_DEVIATION

        step, how = Spread(self.modelled(config), HOURS_DEVIATION), f"40 % of the 16-bit peak of {self.device.name}"
        if idle := waiting(config, self.ranks):  # counted it is no nearer (docs/decisions/0051)
            how += f"; ranks of the pipeline wait {idle / (1 + idle):.0%} of a step, which isn't counted"
        peak = gpu_memory(work_of(config, self.ranks), is_compiled=config.machine.compile != "off")
        memory_how = f"state, activations and the driver's context on one {self.device.name}"
        return Needs(step, how, Spread(peak.total, MEMORY_DEVIATION), memory_how)

    def modelled(self, config: RunConfig) -> float:
        """Return the seconds of a step by the rule."""
        train, sizes = config.train, (count_parameters(config.model).total, self.ranks.mesh.world_size)
        return train.batch_tokens * self.device.seconds_per_token(*sizes, fraction_repeated(train))


Hardware = Processor | Gpus


def hardware_of(
    config: RunConfig, dtype: str | None = None, ranks: Layout | None = None, device: Accelerator | None = None
) -> Hardware:
    """Return what a run's ranks would take: on devices of a data centre, each `device`, or on machines like this.

    `dtype` is what the run computes in, where that is known.
    """
    ranks = ranks or Layout()
    if device is not None:
        return Gpus(ranks, device, PUE)
    here = gpu_to_use(config.machine.device)
    return _processor(config, dtype, ranks) if here is None else Gpus(ranks, here)


def gpu_to_use(wanted: str) -> Accelerator | None:
    """Return the data sheet of the GPU that a run with `machine.device` = `wanted` takes here; None for a processor.

    Raises ConfigError where a GPU is wanted and there is none, or it isn't in the table.
    """
    name = gpu_name()
    if wanted == "cpu" or (wanted == "auto" and name is None):
        return None
    if name is None:
        raise ConfigError("machine.device is cuda and no GPU is found here; set machine.device to auto or cpu")
    from headwater.plan.forecast.device import (  # devices and prices: no processor needs them
        device_of_driver,
        read_devices,
    )

    device = device_of_driver(name, read_devices())
    if device is None:
        raise ConfigError(
            f"this machine's GPU, {name}, isn't in the hardware table: plan for another with --hardware, or for the "
            "processor with machine.device=cpu; to train here, several ranks need numbers in [parallel]"
        )
    return device


def _processor(config: RunConfig, dtype: str | None, ranks: Layout) -> Processor:
    cores, flags, watts = config.machine.num_threads or usable_cores(), cpu_flags(), constants()["watts_per_core"]
    dtype, float32 = dtype or processor_dtype(config.machine, flags), cores * float32_rate_per_core()
    kind = USUAL if dtype == "float32" else kind_of(flags)
    # measured now in float32, times what such processors gain over it
    rate = float32 * (1.0 if dtype == "float32" else measured_kind(kind)["rate_over_float32"][dtype])
    how = f"{rate / 1e9:,.0f} GFLOP/s in {dtype}, from {float32 / 1e9:,.0f} in float32 measured on {cores} cores"
    peaks = Peaks(rate, dtype, how, kind)
    speed = speed_here(dtype, cores, is_compiled=config.machine.compile != "off")
    runs = tuple(earlier_runs(config, speed))
    devices = DeviceGroup(
        device=f"this processor ({cores} cores, {dtype})",
        hours_how=PROCESSOR_HOURS,
        watts=Spread(watts * cores, constants()["log_deviation"]["watts"]),
        power_how=f"{cores} cores × {watts:g} W",
        price_how=NO_PRICE,
        memory_limit=memory_bytes() / ranks.num_local,
        num_devices=ranks.num_machines,
    )
    return Processor(dtype, peaks, runs, devices, ranks)


def processor_dtype(machine: MachineSettings, flags: set[str]) -> str:
    if machine.dtype == "float8":
        raise ConfigError("machine.dtype is float8, which is for GPUs, and the run is planned for a processor here")
    if machine.dtype != "auto":
        return machine.dtype
    fast = fast_dtype(flags)
    return "bfloat16" if fast == "int8" and machine.compile == "off" else fast


def work_of(config: RunConfig, ranks: Layout, dtype: str = "") -> StepWork:
    """Return what a rank has to do in a step, in microbatches of the settings; else of the rule, to be measured.

    `dtype` is what it computes in, where the settings leave that open.
    """
    train, seq_len, num_parts = config.train, config.model.seq_len, ranks.mesh.size(*DATA_AXES)
    share = max(1, train.batch_tokens // num_parts)
    if train.microbatch_tokens == "auto":
        tokens = even_microbatch(share, seq_len, ranks.mesh.wanted_microbatches)
    else:
        tokens = min(train.microbatch_tokens, share)
    return StepWork(
        config.model,
        config.optim,
        ranks.mesh,
        num_rows=max(1, tokens // seq_len),
        num_microbatches=max(1, train.batch_tokens // (tokens * num_parts)),
        recompute=recompute_of(train, config.model.num_layers),
        dtype=dtype or ("bfloat16" if config.machine.dtype == "auto" else config.machine.dtype),
    )


def waiting(config: RunConfig, ranks: Layout) -> float:
    """Return what ranks of a pipeline wait for one another, over the time in which they compute."""
    return ranks.mesh.waiting(work_of(config, ranks).num_microbatches)


def processor_peak(config: RunConfig, dtype: str, text_bytes: float, ranks: Layout) -> PeakBytes:
    """Return the peak of a rank on a processor by formula.

    A store's pages are all mapped once a hundredth of its rows is read, however little that is.
    """
    text = min(text_bytes, MOST_OF_MEMORY * memory_bytes()) / ranks.num_local
    has_almanac = config.train.num_probes > 0 and bool(synthetic_sources(config))
    return processor.memory(work_of(config, ranks, dtype), text, probes_almanac=has_almanac)


def _mean(values: Sequence[float]) -> Spread:
    """Return the mean, and how far the next run's may be from it, by the scatter of at least that from run to run."""
    logs = [math.log(value) for value in values]
    scatter = stdev(logs) if len(logs) > 1 else 0.0
    return Spread(math.exp(fmean(logs)), max(RUN_TO_RUN, scatter) * math.sqrt(1 + 1 / len(logs)))


class Costs(Settings):
    """The costs file of `headwater plan --costs FILE`: what an hour costs and draws; None where it doesn't say."""

    price_per_hour: float | None = Field(default=None, gt=0)
    "US dollars an hour of a device, or of this machine."
    watts: float | None = Field(default=None, gt=0)
    "What a device, or this machine, draws in training."
    pue: float | None = Field(default=None, ge=1)
    "Energy of the data centre over that of its computers."
    kg_co2_per_kwh: float | None = Field(default=None, gt=0)
    hardware: Path | None = None
    "A table of devices instead of headwater's."

    def applied(self, devices: DeviceGroup) -> DeviceGroup:
        """Return the devices with what the file says of them in place of what is usual."""
        if self.price_per_hour is not None:
            how = f"${self.price_per_hour} an hour, of the costs file"
            devices = replace(devices, usd_per_hour=Spread(self.price_per_hour), price_how=how)
        if self.watts is not None:
            devices = replace(devices, watts=Spread(self.watts), power_how=f"{self.watts:g} W of the costs file")
        carbon = self.kg_co2_per_kwh or devices.kg_co2_per_kwh
        return replace(devices, pue=self.pue or devices.pue, kg_co2_per_kwh=carbon)


def read_costs(path: Path | None) -> Costs:
    """Return the costs of a TOML file, the defaults without one; raise ConfigError for what can't be one."""
    if path is None:
        return Costs()
    given = read_settings(path, [], lambda name: None)
    if given.has("hardware"):  # beside the file
        table = path.parent / os.path.expanduser(str(given.get("hardware")))
        given = given.with_value("hardware", str(table), str(path))
    return validate(Costs, given)
