"""How long a run's step takes on the processor at hand: a probe, a ladder, earlier runs, else a model. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, pstdev
from typing import Any

from headwater.forecast.forecast_run import Spread
from headwater.forecast.processor import USUAL, Peaks, Sizes, constants, kind_of, measured_kind, sizes_of, step_seconds
from headwater.machine.host import float32_rate_per_core
from headwater.runs.earlier_runs import TIMES_FILE, EarlierRun, StepShape, earlier_runs, shape_of_steps, speed_here
from headwater.runs.run_config import RunConfig
from headwater.runs.rung_times import NOT_MEASURED, MeasuredAround


@dataclass(frozen=True)
class Probe:
    """What the run's own steps took here, or its ladder's; None where that wasn't measured.

    `log_deviation` is that of the measurement itself. `of_another_shape`: the time is of other steps, times a modelled
    ratio. `busy` is set where the machine was under load.
    """

    step_seconds: float
    log_deviation: float
    num_steps: int
    dtype: str
    num_threads: int
    memory_bytes: float | None
    how: str
    around: MeasuredAround = NOT_MEASURED
    of_another_shape: bool = False
    busy: str | None = None


RUN_TO_RUN = 0.06
"Spread of the log of a run's mean step on one machine: a virtual machine drifts (docs/log.md, 2026-11-26)."
NUM_NEWEST = 5  # earlier runs whose median counts: one under load says little, and a machine may change
MAX_RATIO = math.log(1000.0)  # a measured step further from the model's isn't of this machine


def processor_step(
    config: RunConfig, dtype: str, cores: int, flags: set[str], probe: Probe | None
) -> tuple[Spread, str]:
    """Return the mean step of the run on this many cores, and where that is from.

    It is the median of the newest earlier runs of the same shape, among which a probe or ladder counts as one; without
    those the model times the median of what runs of other shapes took over it. A probe under load counts only alone.
    """
    peaks, shape = processor_peaks(dtype, cores, flags), shape_of_steps(config)
    modelled = modelled_step(shape, peaks)
    speed = speed_here(dtype, cores, is_compiled=config.machine.compile != "off")
    runs = earlier_runs(Path(config.runs_dir), speed, shape)
    own = list(_log_ratios((run for run in runs if run.shape.key == shape.key), peaks))
    others = list(_log_ratios((run for run in runs if run.shape.key != shape.key), peaks))
    is_used = probe is not None and not (own and (probe.busy or probe.of_another_shape))
    probed = [math.log(probe.step_seconds / modelled)] if probe is not None and is_used else []
    is_of_shape = bool(own or (probed and probe is not None and not probe.of_another_shape))
    counted = [*probed, *(own if is_of_shape else others)]
    spread = constants()["log_deviation"]
    if not counted:
        how = f"modelled at {peaks.how}; --probe measures it"
        return Spread(modelled, math.hypot(spread["step"], spread["step_shape"])), how
    ratio = _usual_ratio(counted, 0.0 if is_of_shape else spread["step_shape"])
    step = Spread(modelled * ratio.median, math.hypot(ratio.log_deviation, RUN_TO_RUN))
    num_runs = min(NUM_NEWEST, len(counted)) - len(probed)
    runs_here = f"{num_runs} earlier run{'' if num_runs == 1 else 's'} here"
    if probe is not None and probed:
        return step, probe.how + (f", and {runs_here}" if num_runs else "")
    return step, f"median of {runs_here}{'' if is_of_shape else ', of other shapes'}{_far_off(ratio.median)}"


def _usual_ratio(log_ratios: Sequence[float], extra: float = 0.0) -> Spread:
    """Return the median of the newest, which come first, and how far the machine's usual step may be from it."""
    newest = log_ratios[:NUM_NEWEST]
    deviation = max(RUN_TO_RUN, pstdev(newest)) / math.sqrt(len(newest))
    return Spread(math.exp(median(newest)), math.hypot(deviation, extra))


def _far_off(ratio: float) -> str:
    """Return a warning where a step took what no such processor should."""
    is_far = abs(math.log(ratio)) > 3 * constants()["log_deviation"]["step"]
    return f" ({ratio:.2g} times the model's: see RUN/{TIMES_FILE}, or --probe)" if is_far else ""


def _log_ratios(runs: Iterable[EarlierRun], peaks: Peaks) -> Iterator[float]:
    """Yield the log of each run's step over the modelled one; none for sizes that no model has, in a foreign file."""
    for run in runs:
        try:
            ratio = math.log(run.step_seconds / _modelled(run.shape, peaks, run.halved))
        except (ArithmeticError, ValueError):
            continue
        if abs(ratio) < MAX_RATIO:
            yield ratio


def usual_here(runs_dir: Path, speed: dict[str, Any], peaks: Peaks) -> Spread:
    """Return a step over the modelled one by the newest runs of a folder, of whatever shape."""
    spread = constants()["log_deviation"]
    ratios = list(_log_ratios(earlier_runs(runs_dir, speed), peaks))
    if not ratios:
        return Spread(1.0, math.hypot(spread["step"], spread["step_shape"]))
    return _usual_ratio(ratios, spread["step_shape"])


def modelled_step(shape: StepShape, peaks: Peaks) -> float:
    """Return the seconds of a step by FLOPs and efficiencies, on average over the run."""
    return _modelled(shape, peaks, shape.train.half_length_fraction)


def _modelled(shape: StepShape, peaks: Peaks, halved: float) -> float:
    train = shape.train
    return step_seconds(sizes_of_steps(shape, halved), train.batch_tokens, peaks, train.recompute_fraction)


def sizes_of_steps(shape: StepShape, halved: float) -> Sizes:
    """Return the sizes that work is counted by, where rows are cut in two in `halved` of the steps."""
    return sizes_of(shape.model, shape.optim.name == "muon", shape.optim.block_rows, halved)


def processor_peaks(dtype: str, cores: int, flags: set[str]) -> Peaks:
    """Return the rates of this processor: float32 measured, the rest by what such processors gain."""
    float32 = cores * float32_rate_per_core()
    peaks = peaks_at(float32, dtype, flags)
    how = f"{peaks.maps / 1e9:,.0f} GFLOP/s in {dtype}, from {float32 / 1e9:,.0f} in float32 measured on {cores} cores"
    return replace(peaks, how=how)


def peaks_at(float32: float, dtype: str, flags: set[str]) -> Peaks:
    """Return what a processor of this rate in float32 reaches, by what processors with such instructions gain."""
    kind = USUAL if dtype == "float32" else kind_of(flags)
    gains = measured_kind(kind)["rate_over_float32"] | {"float32": 1.0}
    rest = float32 * gains["float32" if dtype == "float32" else "bfloat16"]
    return Peaks(float32 * gains[dtype], rest, dtype, "", kind)
