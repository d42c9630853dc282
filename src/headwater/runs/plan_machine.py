"""What a run takes on the machine at hand: its step, all around steps, memory, power and price. No torch.

A step's time is the mean of what was measured of this shape here: earlier runs in the folder, the ladder's rungs, a
measurement just made, each once. Without any it is that of `forecast.processor`, times what steps of other shapes took
over theirs. So it is for the rest of training, too. One GPU is in `plan_gpu`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from headwater.device.settings import MachineSettings
from headwater.errors import ConfigError
from headwater.files import write_json
from headwater.forecast.processor import USUAL, Peaks, Step, constants, kind_of, measured_kind
from headwater.forecast.processor_memory import checkpoint_bytes, run_memory
from headwater.forecast.result import NO_PRICE, PROBES_PART, TRAINING_PARTS, Machinery, Spread, StepTime
from headwater.host.facts import cpu_flags, fast_dtype, float32_rate_per_core, gpu_name
from headwater.host.memory import memory_bytes
from headwater.host.threads import usable_cores
from headwater.numbers import plural
from headwater.optim.rules import rule_microbatch
from headwater.runs.ladder_record import ladder_dir
from headwater.runs.paths import Folders, Require
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import source_bytes, token_bytes, tokens_of
from headwater.runs.times import (
    MIN_SECONDS,
    MIN_STEPS,
    TIMES_FILE,
    MeasuredSteps,
    Measurement,
    StepShape,
    earlier_runs,
    mean_step,
    speed_here,
)
from headwater.train.settings import num_recomputed, probe_steps, validation_steps

if TYPE_CHECKING:
    from headwater.forecast.device import Device
    from headwater.records import Record

RUN_TO_RUN = 0.065
"Spread of the log of a run's mean step on one machine: a virtual machine drifts (docs/log.md, 2026-11-28)."
NUM_NEWEST = 10  # measurements that count: machine and code may change
MAX_RATIO = 1000.0  # a measured step further from the model's isn't of this machine
NOMINAL_RATE = 1e11  # FLOP/s
SAME_MEMORY = 0.02
"Of the peaks of runs of one shape: three of first-light were within 0.2 % (2026-11-28); text may differ."
MOST_OF_MEMORY = 0.5
"Mapped pages of a text larger than memory come and go. Of a smaller one all are mapped, however little is read."
UNKNOWN_HELD_OUT = 50_000
"Tokens held out of a source whose size isn't known: a few megabytes of text have as many."


def machinery(config: RunConfig, measured: Measurement | None = None, dtype: str | None = None) -> Machinery:
    """Return the numbers of the device that the run would take here.

    `dtype` is what the run computes in, where that is known.
    """
    device = gpu_to_use(config.machine.device)
    if device is None:
        return _processor(config, measured, dtype)
    from headwater.runs.plan_gpu import machinery_of_gpu  # devices and prices: no processor needs them

    return machinery_of_gpu(config, device, microbatch_tokens(config), measured)


def gpu_to_use(wanted: str) -> Device | None:
    """Return the data sheet of the GPU that a run with `machine.device` = `wanted` takes here; None for a processor.

    Raises ConfigError where a GPU is wanted and there is none, or it isn't in the table.
    """
    name = gpu_name()
    if wanted == "cpu" or (wanted == "auto" and name is None):
        return None
    if name is None:
        raise ConfigError("machine.device is cuda and no GPU is found here; set machine.device to auto or cpu")
    from headwater.forecast.device import device_of_driver, read_devices

    devices = read_devices()
    device = device_of_driver(name, devices)
    if device is None:
        raise ConfigError(
            f"no plan for this machine's GPU, {name}: it isn't in the hardware table, which has "
            f"{', '.join(sorted({each.name for each in devices.values()}))}; train without a plan, set "
            "machine.device=cpu to plan for the processor, or name a device with --budget and --hardware"
        )
    return device


def _processor(config: RunConfig, measured: Measurement | None, dtype: str | None) -> Machinery:
    cores, flags, watts = config.machine.num_threads or usable_cores(), cpu_flags(), constants()["watts_per_core"]
    dtype = dtype or (measured.dtype if measured else processor_dtype(config.machine, flags))
    step = processor_step(config, dtype, cores, flags, measured)
    memory, memory_how = _processor_memory(config, dtype, step.peaks)
    return Machinery(
        step=step,
        memory=memory,
        watts=Spread(watts * cores, constants()["log_deviation"]["watts"]),
        usd_per_hour=None,
        how={"memory": memory_how, "power": f"{cores} cores × {watts:g} W", "price": NO_PRICE},
        memory_limit_bytes=memory_bytes(),
        is_processor=True,
    )


def processor_dtype(machine: MachineSettings, flags: set[str]) -> str:
    if machine.dtype == "float8":
        raise ConfigError("machine.dtype is float8, which is for GPUs, and the run is planned for a processor here")
    if machine.dtype != "auto":
        return machine.dtype
    fast = fast_dtype(flags)
    return "bfloat16" if fast == "int8" and machine.compile == "off" else fast


def _processor_memory(config: RunConfig, dtype: str, peaks: Sequence[float]) -> tuple[Spread, str]:
    """Return the peak: the mean of earlier runs of this shape, else by formula."""
    if peaks:
        return Spread(fmean(peaks), SAME_MEMORY), f"mean peak of {plural(len(peaks), 'earlier run')} of this shape here"
    text = min(token_bytes(config), MOST_OF_MEMORY * memory_bytes())
    tokens = microbatch_tokens(config)
    recomputed = num_recomputed(config.train, config.model.num_layers)
    peak = run_memory(config.model, tokens, dtype, text, recomputed, exact=config.train.exact)
    spread = Spread(peak, constants()["log_deviation"]["memory"])
    return spread, f"libraries, text, 16 bytes a parameter, activations of {tokens} tokens in {dtype}"


def microbatch_tokens(config: RunConfig) -> int:
    """Return the microbatch of the settings; the rule's where it will be measured at the run's start."""
    tokens = config.train.microbatch_tokens
    return rule_microbatch(config.train.batch_tokens, config.model.seq_len) if tokens == "auto" else tokens


def processor_step(
    config: RunConfig, dtype: str, cores: int, flags: set[str], measured: Measurement | None
) -> StepTime:
    """Return the mean step of the run on this many cores.

    A measurement under load counts only where nothing else of this shape does.
    """
    shape, peaks = StepShape.of(config), processor_peaks(dtype, cores, flags)
    speed = speed_here(dtype, cores, is_compiled=config.machine.compile != "off")
    runs, rungs = (earlier_runs(folder, speed) for folder in (Path(config.runs_dir), ladder_dir(config.run_dir)))
    own, alike = ([run for run in found if run.of.key == shape.key and _ratio(run, peaks)] for found in (runs, rungs))
    own = own[:NUM_NEWEST]
    steps, sources = [run.step_seconds for run in own], [plural(len(own), "earlier run")] if own else []
    if alike:
        steps.append(fmean(rung.step_seconds for rung in alike))
        sources.append("the ladder's runs")
    if measured is not None and not (measured.busy and steps):
        steps.append(measured.step_seconds)
        sources.append(f"{measured.num_steps} steps measured now")
    if steps:
        rests = [run.rest_over_usual for run in own if run.rest_over_usual]
        return StepTime(
            _mean(steps),
            f"mean of {' and '.join(sources)} of this shape here",
            fmean(rests) if rests else None,
            tuple(run.peak_memory_bytes for run in own if run.peak_memory_bytes),
        )
    usual = usual_here([*runs, *rungs], peaks)
    how = f"modelled, times {usual.median:.2f} as measured on other shapes here"
    if usual == usual_here([], peaks):
        how = f"modelled at {peaks.how}; --measure times it"
    return StepTime(replace(usual, median=usual.median * modelled_step(shape, peaks)), how)


def usual_here(found: Sequence[MeasuredSteps], peaks: Peaks) -> Spread:
    """Return a step over the modelled one by the newest measurements, of whatever shape; 1 without any."""
    ratios = [ratio for run in found if (ratio := _ratio(run, peaks))][:NUM_NEWEST]
    spread = constants()["log_deviation"]
    mean = _mean(ratios) if ratios else Spread(1.0, spread["step"])
    return replace(mean, log_deviation=math.hypot(mean.log_deviation, spread["step_shape"]))


def _mean(values: Sequence[float]) -> Spread:
    """Return the mean, and how far the next run's may be from it, by the scatter of at least that from run to run."""
    logs = [math.log(value) for value in values]
    scatter = stdev(logs) if len(logs) > 1 else 0.0
    return Spread(math.exp(fmean(logs)), max(RUN_TO_RUN, scatter) * math.sqrt(1 + 1 / len(logs)))


def _ratio(run: MeasuredSteps, peaks: Peaks) -> float | None:
    """Return a step over the modelled one; None for what no such processor takes, or a shape that no model has."""
    try:
        ratio = run.step_seconds / modelled_step(run.of, peaks)
    except (ArithmeticError, ValueError):
        return None
    return ratio if 1 / MAX_RATIO < ratio < MAX_RATIO else None


def modelled_step(shape: StepShape, peaks: Peaks) -> float:
    """Return the seconds of a step by FLOPs and the measured part of the peak, on average over the run."""
    train, optim = shape.train, shape.optim
    parts = train.half_length_fraction, train.recompute_fraction
    return Step(shape.model, train.batch_tokens, optim.block_rows, optim.name == "muon", *parts).seconds(peaks)


def relative_step(config: RunConfig, dtype: str) -> float:
    """Return the seconds of a step in a unit of its own: only ratios between runs of one machine mean something."""
    if gpu_to_use(config.machine.device) is not None:
        return machinery(config).step.seconds.median
    return modelled_step(StepShape.of(config), processor_peaks(dtype, 1, cpu_flags(), NOMINAL_RATE))


def processor_peaks(dtype: str, cores: int, flags: set[str], per_core: float | None = None) -> Peaks:
    """Return the rate of this processor: float32, `per_core` or measured, times what such processors gain over it."""
    float32 = cores * (per_core or float32_rate_per_core())
    kind = USUAL if dtype == "float32" else kind_of(flags)
    rate = float32 * (1.0 if dtype == "float32" else measured_kind(kind)["rate_over_float32"][dtype])
    how = f"{rate / 1e9:,.0f} GFLOP/s in {dtype}, from {float32 / 1e9:,.0f} in float32 measured on {cores} cores"
    return Peaks(rate, dtype, how, kind)


def around_steps(config: RunConfig, step_seconds: float, rest: float | None = None) -> dict[str, Spread]:
    """Return the seconds of everything but steps, by first-light's on one machine.

    `rest` is what training besides steps took in earlier runs of the shape, over what is counted here.
    """
    known, train, deviation = constants()["around_steps"], config.train, constants()["log_deviation"]
    per_token = step_seconds / train.batch_tokens  # of training, in which all that the model computes is counted
    sources, held_out = config.corpus.sources, tokens_of(config, "validation")
    wanted = train.validation_sequences * config.model.seq_len
    validated = sum(min(wanted, held_out.get(name, UNKNOWN_HELD_OUT)) for name in sources)
    has_almanac = any(source.builtin == "almanac" for source in sources.values())
    probe = known["tokens_of_probe" if has_almanac else "tokens_of_probe_without_almanac"]
    save = checkpoint_bytes(config.model, config.optim) / known["checkpoint_bytes_per_second"]
    training = {
        "start": known["start_seconds"],
        "validations": len(validation_steps(train)) * known["tokens_of_validated_token"] * validated * per_token,
        PROBES_PART: len(probe_steps(train)) * probe * per_token,
        "checkpoints": -(-train.num_steps // train.save_every) * save,
    }
    is_built = (Folders(config.run_dir).tokens / "manifest.json").is_file()
    text = 0.0 if is_built else sum(source_bytes(source) or 0.0 for source in sources.values())
    besides = {
        "preparation": text / known["preparation_bytes_per_second"],
        "after": known["tokens_after"] * per_token,
    }
    sure = deviation["around"] if rest is None else deviation["around_measured"]
    found = {name: Spread(seconds * (rest or 1.0), sure) for name, seconds in training.items()}
    return found | {name: Spread(seconds, deviation["around"]) for name, seconds in besides.items()}


def training_rest(config: RunConfig, step_seconds: float) -> float:
    """Return the seconds of training besides its steps, as they are usually counted."""
    return sum(part.median for name, part in around_steps(config, step_seconds).items() if name in TRAINING_PARTS)


def keep_times(config: RunConfig, records: Sequence[Record], speed: dict[str, Any], require_owner: Require) -> None:
    """Write what the whole run took by its `records`, where one process made all its steps; else nothing.

    `speed` is `speed_here` of what it computed in.
    """
    seconds = [record["seconds"] for record in records if record["event"] == "step"]
    if len(seconds) < max(MIN_STEPS, config.train.num_steps) or sum(seconds) < MIN_SECONDS:
        return
    step, finish = mean_step(records, config.train), records[-1]
    rest = finish["seconds"] - len(seconds) * step
    found = MeasuredSteps(
        of=StepShape.of(config),
        step_seconds=step,
        speed=speed,
        rest_over_usual=rest / training_rest(config, step) if rest > 0 else None,
        ended_at=finish["time"],
        peak_memory_bytes=finish.get("peak_memory_bytes"),
    )
    write_json(config.run_dir / TIMES_FILE, found.model_dump(mode="json"), require_owner)
