"""What the ladder of a run says of the run's steps. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from headwater.runs.ladder_record import DoneRung, is_shape_of
from headwater.runs.planned_device import relative_step
from headwater.runs.planned_step import Probe
from headwater.runs.run_config import RunConfig
from headwater.runs.rung_times import MeasuredAround

ONE_RUNG = 0.02  # from one rung's step to another's (docs/log.md); the drift from run to run comes on top


def ladder_probe(config: RunConfig, rungs: Sequence[DoneRung]) -> Probe | None:
    """Return the run's step by the rungs that nothing disturbed; None where those are all of other shapes."""
    quiet = [done for done in rungs if done.busy is None]
    is_enough = len(quiet) == len(rungs) or any(is_shape_of(done.rung, config) for done in quiet)
    return _probe(config, quiet) if is_enough else None


def disturbed(rungs: Sequence[DoneRung], probe: Probe | None) -> list[str]:
    """Return a note where rungs trained under load: their times aren't used, and `probe` is what is left."""
    busy = [f"{done.rung.name} ({done.busy})" for done in rungs if done.busy is not None]
    if not busy:
        return []
    left = "times are by this processor's rate instead" if probe is None else "those of the others count"
    return [f"the ladder's times of {', '.join(busy)} aren't used: {left}"]


def _probe(config: RunConfig, rungs: Sequence[DoneRung]) -> Probe:
    """Return the step of the rungs of the run's own shape; without any, the largest rungs' times the modelled ratio."""
    same = [done for done in rungs if is_shape_of(done.rung, config)]
    used = same or sorted(rungs, key=lambda done: done.rung.params)[-2:]
    how = (
        f"as in {len(used)} of the ladder's runs, of the same shape"
        if same
        else f"as in the ladder's {len(used)} largest models, times the modelled ratio of the shapes"
    )
    last = used[-1]
    return Probe(
        step_seconds=math.exp(median(math.log(done.step_seconds * _ratio(config, done)) for done in used)),
        log_deviation=ONE_RUNG,
        num_steps=sum(done.rung.num_steps for done in used),
        dtype=last.dtype,
        num_threads=last.num_threads,
        memory_bytes=None,
        how=f"{how}, in {last.dtype} on {last.num_threads} × {last.device_name}",
        around=_around(same),
        of_another_shape=not same,
    )


def _around(same: Sequence[DoneRung]) -> MeasuredAround:
    """Return what rungs of the run's shape say of the time around steps, nothing without any."""

    def mean_of(name: str) -> float | None:
        found = [value for done in same if (value := getattr(done.around, name)) is not None]
        return fmean(found) if found else None

    return MeasuredAround(validated_token=mean_of("validated_token"), probe=mean_of("probe"), save=mean_of("save"))


def _ratio(config: RunConfig, done: DoneRung) -> float:
    """Return the run's step over the rung's."""
    if is_shape_of(done.rung, config):
        return 1.0
    rung = done.rung
    sizes = {"num_layers": rung.num_layers, "d_model": rung.d_model, "d_ff": rung.d_ff}
    heads = {"num_heads": rung.num_heads, "num_kv_heads": rung.num_kv_heads, "head_dim": rung.head_dim}
    smaller = config.model_copy(update={"model": config.model.model_copy(update=sizes | heads)})
    return relative_step(config, done.dtype) / relative_step(smaller, done.dtype)
