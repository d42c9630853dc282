"""How long a run's step takes on the processor at hand: by a model, by probe or ladder, by earlier runs. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwater.machine.host import float32_rate_per_core
from headwater.plan.forecast_run import Spread
from headwater.plan.processor import USUAL, Peaks, Sizes, constants, kind_of, measured_kind, sizes_of, step_seconds
from headwater.plan.step_time import AT_ODDS, Seen, drift, newest_that_is_shared, of_this_machine, usual_ratio
from headwater.recipes.earlier_runs import TIMES_FILE, EarlierRun, StepShape, earlier_runs, shape_of_steps, speed_here
from headwater.recipes.run_config import RunConfig
from headwater.recipes.rung_times import NOT_MEASURED, MeasuredAround


@dataclass(frozen=True)
class Probe:
    """What the run's own steps took here, or its ladder's; None where that wasn't measured.

    `log_deviation` is that of the measurement itself, which took so many `seconds` until `ended_at`, in seconds since
    1970; the machine's drift in them comes on top. `of_another_shape`: the time is of other steps, times a modelled
    ratio. `busy` says so where other programs used the processor meanwhile.
    """

    step_seconds: float
    log_deviation: float
    num_steps: int
    seconds: float
    ended_at: float
    dtype: str
    num_threads: int
    memory_bytes: float | None
    how: str
    around: MeasuredAround = NOT_MEASURED
    of_another_shape: bool = False
    busy: str | None = None


OTHER_SHAPES = "other shapes"  # no digest
MOST_RATIO = math.log(1000.0)  # a step so far from what it should take isn't one of this machine


def processor_step(
    config: RunConfig, dtype: str, cores: int, flags: set[str], probe: Probe | None
) -> tuple[Spread, str]:
    """Return the mean step of the run on so many cores, and where that is from.

    What was measured and what the model says count by how sure they are; the drift is that of a run so long. A probe
    beside other programs counts only where there is nothing else.
    """
    peaks, shape = processor_peaks(dtype, cores, flags), shape_of_steps(config)
    modelled = modelled_step(shape, peaks)
    earlier = _seen_earlier(config, dtype, cores, peaks, shape)
    probed = [] if probe is None or (probe.busy and earlier) else [_seen_by_probe(probe, modelled, shape)]
    counted = _of_this_machine(probed, earlier)
    ratio = usual_ratio(shape.key, counted)
    median = modelled * ratio.median
    step = Spread(median, math.hypot(ratio.log_deviation, drift(config.train.num_steps * median)))
    is_probed = any(one in probed for one in counted)
    num_runs = len(counted) - is_probed
    if probe is not None and is_probed:
        return step, probe.how + _with_runs(num_runs, len(earlier), ", and as in ")
    how = f"FLOPs over {peaks.how} and efficiencies of measured shapes"
    if not earlier:
        return step, f"{how}; --probe measures it"
    return step, how + _with_runs(num_runs, len(earlier), f", × {ratio.median:.3f}{_far_off(ratio.median)} as in ")


def _far_off(ratio: float) -> str:
    """Return what makes a reader look at the runs that say so."""
    is_far = abs(math.log(ratio)) > AT_ODDS * constants()["log_deviation"]["step"]
    return f" (far from what such a processor takes: look at RUN/{TIMES_FILE}, or --probe)" if is_far else ""


def _of_this_machine(probed: list[Seen], earlier: list[Seen]) -> list[Seen]:
    """Return what agrees with the probe where that is the newest, else with the newest that has company."""
    seen = [*probed, *earlier]
    if not seen:
        return []
    newest = max(seen, key=lambda one: one.ended_at)
    return of_this_machine(newest if newest in probed else newest_that_is_shared(seen), seen)


def _with_runs(num_counted: int, num_earlier: int, before: str) -> str:
    """Return which earlier runs count, to come after what else the step is from."""
    left_out = num_earlier - num_counted
    said = f"{before}{_runs(num_counted)} here" if num_counted else ""
    if left_out:
        said += f"; {_runs(left_out)} here took another time and {'is' if left_out == 1 else 'are'} left out"
    return said


def _runs(number: int) -> str:
    return f"{number} earlier run{'' if number == 1 else 's'}"


def _seen_by_probe(probe: Probe, modelled: float, shape: StepShape) -> Seen:
    key = OTHER_SHAPES if probe.of_another_shape else shape.key
    ratio = math.log(probe.step_seconds / modelled)
    return Seen(ratio, probe.log_deviation, key, probe.ended_at - probe.seconds, probe.ended_at)


def _seen_earlier(config: RunConfig, dtype: str, cores: int, peaks: Peaks, shape: StepShape) -> list[Seen]:
    speed = speed_here(dtype, cores, is_compiled=config.machine.compile != "off")
    return _seen_by_runs(earlier_runs(Path(config.runs_dir), speed, shape), peaks)


def _seen_by_runs(runs: Iterable[EarlierRun], peaks: Peaks) -> list[Seen]:
    found = []
    for run in runs:
        try:
            ratio = math.log(run.step_seconds / _modelled(run.shape, peaks, run.halved))
        except (ArithmeticError, ValueError):  # sizes that no model has, in a file that isn't ours
            continue
        if abs(ratio) < MOST_RATIO:
            found.append(Seen(ratio, 0.0, run.shape.key, run.ended_at - run.measured_seconds, run.ended_at))
    return found


def usual_here(runs_dir: Path, speed: dict[str, Any], peaks: Peaks) -> Spread:
    """Return a step over the modelled one by the runs of a folder, whatever the shape."""
    return usual_ratio(None, _of_this_machine([], _seen_by_runs(earlier_runs(runs_dir, speed), peaks)))


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
    how = (
        f"{peaks.maps / 1e9:,.0f} GFLOP/s in {dtype} ({float32 / 1e9:,.0f} measured in float32 on {cores} cores, times "
        "what such processors gain)"
    )
    return replace(peaks, how=how)


def peaks_at(float32: float, dtype: str, flags: set[str]) -> Peaks:
    """Return what a processor of this rate in float32 reaches, by what processors with such instructions gain."""
    kind = USUAL if dtype == "float32" else kind_of(flags)
    gains = measured_kind(kind)["rate_over_float32"] | {"float32": 1.0}
    rest = float32 * gains["float32" if dtype == "float32" else "bfloat16"]
    return Peaks(float32 * gains[dtype], rest, dtype, "", kind)
