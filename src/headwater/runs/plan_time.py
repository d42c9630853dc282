"""How long a run takes here: its step as it was measured on this machine, else as modelled, and all around steps.

Measured are earlier runs of this shape in the folder, the ladder's rungs and a probe: their mean, each counting once.
Without any of this shape the model of `forecast.processor` counts, times what steps of other shapes took over it. No
torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, pstdev

from headwater.forecast.processor import USUAL, Peaks, constants, kind_of, measured_kind, sizes_of, step_seconds
from headwater.forecast.processor_memory import state_bytes
from headwater.forecast.result import PROBES_PART, Spread
from headwater.machine.host import float32_rate_per_core
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.numbers import plural
from headwater.optim.settings import OptimSettings
from headwater.runs.ladder_record import DoneRung, is_as_fast, is_shape_of, model_of, read_ladder
from headwater.runs.paths import Folders
from headwater.runs.run_config import RunConfig
from headwater.runs.text_size import foreseen_held_out, has_almanac, source_bytes
from headwater.runs.times import (
    NOT_MEASURED,
    TIMES_FILE,
    MeasuredAround,
    MeasuredSteps,
    StepShape,
    earlier_runs,
    speed_here,
)
from headwater.train.settings import probe_steps, validation_steps

RUN_TO_RUN = 0.06
"Spread of the log of a run's mean step on one machine: a virtual machine drifts (docs/log.md, 2026-11-26)."
NUM_NEWEST = 10  # measurements that count: machine and code may change
MAX_RATIO = 1000.0  # a measured step further from the model's isn't of this machine
START_SECONDS = 2.6
"Assembling, and measuring the peak."
VALIDATION_PART = 0.376
"Seconds of a validated token over those of a trained one: first-light, as `around_steps` in processor.json."
UNKNOWN_HELD_OUT = 50_000
"Tokens held out of a source whose size isn't known: a few megabytes of text have as many."
NO_PRICE = "no price is known for this machine: give price_per_hour in a costs file (--costs)"
FIRST_LIGHT_SECONDS_PER_TOKEN, FIRST_LIGHT_BYTES = 0.255 / 4096, 42.5e6


@dataclass(frozen=True)
class Probe:
    """What the run's own steps took here. `memory_bytes` is None where one microbatch stood for all.

    `busy` is set where the machine was under load.
    """

    step_seconds: float
    num_steps: int
    dtype: str
    num_threads: int
    memory_bytes: float | None
    around: MeasuredAround = NOT_MEASURED
    busy: str | None = None


@dataclass(frozen=True)
class StepTime:
    """The mean step of a run and where it is from; what was measured around steps, and the peaks of earlier runs."""

    seconds: Spread
    how: str
    around: MeasuredAround = NOT_MEASURED
    peaks: tuple[float, ...] = ()
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Machinery:
    """What the machine says of a run, `how` by quantity. `memory_limit_bytes` is a GPU's, else the machine's own."""

    step: StepTime
    memory: Spread
    watts: Spread
    usd_per_hour: Spread | None
    how: dict[str, str]
    memory_limit_bytes: float
    is_processor: bool


def processor_step(config: RunConfig, dtype: str, cores: int, flags: set[str], probe: Probe | None) -> StepTime:
    """Return the mean step of the run on this many cores.

    A probe or rung under load counts only where nothing else of this shape does.
    """
    shape, peaks = StepShape.of(config), processor_peaks(dtype, cores, flags)
    runs = earlier_runs(Path(config.runs_dir), speed_here(dtype, cores, is_compiled=config.machine.compile != "off"))
    rungs = [rung for rung in read_ladder(config) if rung.dtype == dtype] if is_as_fast(config) else []
    own = [run for run in runs if run.shape.key == shape.key and _ratio(run, peaks)][:NUM_NEWEST]
    counted, sources = list(own), [plural(len(own), "earlier run")] if own else []
    if same := [rung for rung in rungs if is_shape_of(rung.rung, config) and rung.busy is None]:
        around = MeasuredAround.mean_of([rung.around for rung in same])
        counted.append(MeasuredSteps(shape, fmean(rung.step_seconds for rung in same), around))
        sources.append("the ladder's runs")
    if probe is not None and not (probe.busy and counted):
        counted.append(MeasuredSteps(shape, probe.step_seconds, probe.around))
        sources.append(f"a probe of {probe.num_steps} steps")
    notes = _notes_of_load(rungs, is_used=bool(counted))
    if counted:
        mean = _mean([math.log(run.step_seconds) for run in counted])
        how = f"mean of {' and '.join(sources)} of this shape here"
        how += _far_off(mean.median, modelled_step(shape, peaks)) if own else ""
        peaks_of_memory = tuple(run.peak_memory_bytes for run in own if run.peak_memory_bytes)
        return StepTime(mean, how, MeasuredAround.mean_of([run.around for run in counted]), peaks_of_memory, notes)
    others = [*runs, *(_of_rung(config, rung) for rung in rungs if rung.busy is None)]
    step, how = _modelled(shape, peaks, others)
    return StepTime(step, how, notes=notes)


def _modelled(shape: StepShape, peaks: Peaks, others: Sequence[MeasuredSteps]) -> tuple[Spread, str]:
    """Return the model's step, times what steps of other shapes took over theirs."""
    modelled, spread = modelled_step(shape, peaks), constants()["log_deviation"]
    usual = usual_here(others, peaks)
    if usual is None:
        return Spread(
            modelled, math.hypot(spread["step"], spread["step_shape"])
        ), f"modelled at {peaks.how}; --probe measures it"
    how = f"modelled, times {usual.median:.2f} as measured on other shapes here"
    return Spread(modelled * usual.median, usual.log_deviation), how


def usual_here(found: Sequence[MeasuredSteps], peaks: Peaks) -> Spread | None:
    """Return a step over the modelled one by the newest measurements, of whatever shape; None without any."""
    ratios = [math.log(ratio) for run in found if (ratio := _ratio(run, peaks))][:NUM_NEWEST]
    if not ratios:
        return None
    mean = _mean(ratios)
    return Spread(mean.median, math.hypot(mean.log_deviation, constants()["log_deviation"]["step_shape"]))


def _mean(logs: Sequence[float]) -> Spread:
    """Return the mean, and how far the next run's may be from it, by the scatter of at least that from run to run."""
    return Spread(math.exp(fmean(logs)), max(RUN_TO_RUN, pstdev(logs)) * math.sqrt(1 + 1 / len(logs)))


def _ratio(run: MeasuredSteps, peaks: Peaks) -> float | None:
    """Return a step over the modelled one; None for what no such processor takes, or a shape that no model has."""
    try:
        ratio = run.step_seconds / modelled_step(run.shape, peaks)
    except (ArithmeticError, ValueError):
        return None
    return ratio if 1 / MAX_RATIO < ratio < MAX_RATIO else None


def _far_off(step: float, modelled: float) -> str:
    """Return a warning where a step took what no such processor should."""
    ratio = step / modelled
    is_far = abs(math.log(ratio)) > 3 * constants()["log_deviation"]["step"]
    return f" ({ratio:.2g} times the model's: see RUN/{TIMES_FILE}, or --probe)" if is_far else ""


def _notes_of_load(rungs: Sequence[DoneRung], *, is_used: bool) -> list[str]:
    """Return a note where rungs trained under load, whose times aren't used."""
    busy = [f"{done.rung.name} ({done.busy})" for done in rungs if done.busy is not None]
    is_used = is_used or len(busy) < len(rungs)
    left = "those of the others count" if is_used else "times are by this processor's rate instead"
    return [f"the ladder's times of {', '.join(busy)} aren't used: {left}"] if busy else []


def _of_rung(config: RunConfig, done: DoneRung) -> MeasuredSteps:
    shape = StepShape(model_of(done.rung, config.model), config.optim, config.train)
    return MeasuredSteps(shape, done.step_seconds, done.around)


def modelled_step(shape: StepShape, peaks: Peaks) -> float:
    """Return the seconds of a step by FLOPs and efficiencies, on average over the run."""
    train, optim = shape.train, shape.optim
    sizes = sizes_of(shape.model, optim.name == "muon", optim.block_rows, train.half_length_fraction)
    return step_seconds(sizes, train.batch_tokens, peaks, train.recompute_fraction)


def processor_peaks(dtype: str, cores: int, flags: set[str]) -> Peaks:
    """Return the rate of this processor: float32 measured, times what such processors gain."""
    float32 = cores * float32_rate_per_core()
    peaks = peaks_at(float32, dtype, flags)
    how = f"{peaks.rate / 1e9:,.0f} GFLOP/s in {dtype}, from {float32 / 1e9:,.0f} in float32 measured on {cores} cores"
    return replace(peaks, how=how)


def peaks_at(float32: float, dtype: str, flags: set[str]) -> Peaks:
    """Return what a processor of this rate in float32 reaches, by what processors with such instructions gain."""
    kind = USUAL if dtype == "float32" else kind_of(flags)
    gain = 1.0 if dtype == "float32" else measured_kind(kind)["rate_over_float32"][dtype]
    return Peaks(float32 * gain, dtype, "", kind)


def around_steps(config: RunConfig, step_seconds: float, measured: MeasuredAround = NOT_MEASURED) -> dict[str, Spread]:
    """Return the seconds of everything but steps, as measured here, else by first-light's on one machine."""
    known, train = constants()["around_steps"], config.train
    per_token = step_seconds / train.batch_tokens
    num_validated = len(validation_steps(train)) * validated_tokens(config)
    probe = known["look_seconds" if has_almanac(config) else "look_seconds_without_almanac"] * probe_scale(per_token)
    num_saves = -(-train.num_steps // train.save_every)
    save = checkpoint_bytes(config.model, config.optim) / known["checkpoint_bytes_per_second"]
    sizes = [source_bytes(source) for source in config.corpus.sources.values()]
    text = sum(FIRST_LIGHT_BYTES if size is None else size for size in sizes)
    is_built = (Folders(config.run_dir).tokens / "manifest.json").is_file()
    to_prepare = 0.0 if is_built else sum(size or 0.0 for size in sizes)
    return {
        "start": _part(1, None, START_SECONDS),
        "preparation": _part(1, None, to_prepare / known["preparation_bytes_per_second"]),
        "validations": _part(num_validated, measured.validated_token, VALIDATION_PART * per_token),
        PROBES_PART: _part(len(probe_steps(train)), measured.probe, probe),
        "checkpoints": _part(num_saves, measured.save, save),
        "after": _part(1, None, ending_seconds(per_token, text)),
    }


def _part(times: float, measured: float | None, otherwise: float) -> Spread:
    """Return the seconds of what comes `times` times, each as it was measured, or as it is otherwise expected."""
    spread = constants()["log_deviation"]
    if measured is None:
        return Spread(times * otherwise, spread["around"])
    return Spread(times * measured, spread["around_measured"])


def validated_tokens(config: RunConfig) -> int:
    """Return the tokens of one validation: its rows of each source, or as many as there are."""
    wanted = config.train.validation_sequences * config.model.seq_len
    held_out = foreseen_held_out(config)
    return sum(min(wanted, held_out.get(name, UNKNOWN_HELD_OUT)) for name in config.corpus.sources)


def probe_scale(seconds_per_token: float) -> float:
    """Return a probe's time over first-light's: half is Python's own, half goes with the model's."""
    return 0.5 + 0.5 * seconds_per_token / FIRST_LIGHT_SECONDS_PER_TOKEN


def ending_seconds(seconds_per_token: float, text_bytes: float) -> float:
    """Return the time of what comes after training: half goes with the model's, half with the text, for baselines.

    Those read no more text than first-light has.
    """
    by_model = seconds_per_token / FIRST_LIGHT_SECONDS_PER_TOKEN
    by_text = min(1.0, text_bytes / FIRST_LIGHT_BYTES)
    return float(constants()["around_steps"]["after_seconds"]) * (by_model + by_text) / 2


def checkpoint_bytes(model: ModelSettings, optim: OptimSettings) -> float:
    """Return weights and optimizer state: all the state but the gradients."""
    return state_bytes(model, optim) - 4 * count_parameters(model).total
