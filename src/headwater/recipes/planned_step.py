"""How long a run's step takes on the processor at hand: by a model, by probe or ladder, by earlier runs. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwater.machine.host import float32_rate_per_core
from headwater.plan.forecast_run import Spread
from headwater.plan.processor import USUAL, Peaks, Sizes, kind_of, measured_kind, sizes_of, step_seconds
from headwater.plan.step_time import Seen, drift, of_this_machine, usual_ratio
from headwater.recipes.earlier_runs import EarlierRun, StepShape, earlier_runs, shape_of_steps, speed_here
from headwater.recipes.run_config import RunConfig
from headwater.recipes.rung_times import NOT_MEASURED, MeasuredAround


@dataclass(frozen=True)
class Probe:
    """What the run's own steps took here, or its ladder's; None where that wasn't measured.

    `log_deviation` is that of the measurement itself, over `seconds` of the machine's pace. `busy` says so where other
    programs used the processor meanwhile.
    """

    step_seconds: float
    log_deviation: float
    num_steps: int
    seconds: float
    dtype: str
    num_threads: int
    memory_bytes: float | None
    how: str
    around: MeasuredAround = NOT_MEASURED
    busy: str | None = None


def processor_step(
    config: RunConfig, dtype: str, cores: int, flags: set[str], probe: Probe | None
) -> tuple[Spread, str]:
    """Return the mean step of the run on so many cores, and where that is from.

    What was measured and what the model says count by how sure they are; the drift is that of a run so long.
    """
    peaks, shape = processor_peaks(dtype, cores, flags), shape_of_steps(config)
    modelled = modelled_step(shape, peaks)
    earlier = earlier_runs(Path(config.runs_dir), speed_here(dtype, cores, config.machine))
    measured = [] if probe is None else [_seen_by_probe(probe, modelled, shape)]
    seen = measured + [_seen_by_run(run, peaks) for run in earlier]
    agreeing = [] if not seen else [seen[0], *of_this_machine(seen[0], seen[1:])]
    ratio = usual_ratio(shape.key, agreeing)
    median = modelled * ratio.median
    deviation = math.hypot(ratio.log_deviation, drift(config.train.num_steps * median))
    how = f"FLOPs over {peaks.how} and efficiencies of measured shapes" if probe is None else probe.how
    return Spread(median, deviation), how + _says(len(agreeing) - len(measured), len(earlier), probe, ratio)


def _says(num_counted: int, num_earlier: int, probe: Probe | None, ratio: Spread) -> str:
    """Return which earlier runs count, to come after what else the step is from."""
    if not num_earlier:
        return "" if probe else "; --probe measures it"
    left_out = f" ({num_earlier - num_counted} more took another time)" if num_counted < num_earlier else ""
    runs = f"{num_counted} earlier run{'' if num_counted == 1 else 's'} here{left_out}"
    return f", and as in {runs}" if probe else f", × {ratio.median:.3f} as in {runs}"


def _seen_by_probe(probe: Probe, modelled: float, shape: StepShape) -> Seen:
    deviation = math.hypot(probe.log_deviation, drift(probe.seconds))
    return Seen(math.log(probe.step_seconds / modelled), deviation, shape.key)


def _seen_by_run(run: EarlierRun, peaks: Peaks) -> Seen:
    return Seen(math.log(run.step_seconds / modelled_step(run.shape, peaks)), drift(run.seconds), run.shape.key)


def usual_here(runs_dir: Path, speed: dict[str, Any], peaks: Peaks) -> Spread:
    """Return a step of a shape that wasn't trained yet over the modelled one, by the runs of a folder."""
    seen = [_seen_by_run(run, peaks) for run in earlier_runs(runs_dir, speed)]
    return usual_ratio("", [seen[0], *of_this_machine(seen[0], seen[1:])] if seen else [])


def modelled_step(shape: StepShape, peaks: Peaks) -> float:
    """Return the seconds of a step by FLOPs and efficiencies."""
    return step_seconds(sizes_of_steps(shape), shape.train.batch_tokens, peaks, shape.train.recompute_fraction)


def sizes_of_steps(shape: StepShape) -> Sizes:
    is_muon = shape.optim.name == "muon"
    return sizes_of(shape.model, is_muon, shape.optim.block_rows, shape.train.half_length_fraction)


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
