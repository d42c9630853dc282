"""What the ladder of a run says of the run's steps. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from headwater.recipes.ladder_record import DoneRung, is_shape_of
from headwater.recipes.pace import slowdown
from headwater.recipes.planned_device import relative_step
from headwater.recipes.planned_step import Probe
from headwater.recipes.run_config import RunConfig
from headwater.recipes.rung_times import NOT_MEASURED, MeasuredAround

ONE_RUNG = 0.02  # from a rung's step over its pace to another's (docs/log.md); the machine's drift comes on top


def ladder_probe(config: RunConfig, rungs: Sequence[DoneRung]) -> Probe | None:
    """Return the run's step by the rungs that nothing disturbed; None where those are all of other shapes."""
    quiet = [done for done in rungs if done.busy is None]
    is_enough = len(quiet) == len(rungs) or any(is_shape_of(done.rung, config) for done in quiet)
    return _probe(config, quiet) if is_enough else None


def disturbed(rungs: Sequence[DoneRung], probe: Probe | None) -> list[str]:
    """Return a note where other programs ran beside rungs: their times aren't used, and `probe` is what is left."""
    busy = [f"{done.rung.name} ({done.busy})" for done in rungs if done.busy is not None]
    if not busy:
        return []
    left = "times are by this processor's rate instead" if probe is None else "those of the others count"
    return [f"times of {', '.join(busy)} in the ladder say nothing of an idle machine: {left}"]


def _probe(config: RunConfig, rungs: Sequence[DoneRung]) -> Probe:
    """Return the step of rungs of the run's own shape, or the largest rungs' times what the model adds.

    Taken from their pace to the mean of the ladder.
    """
    same = [done for done in rungs if is_shape_of(done.rung, config)]
    asked = same or sorted(rungs, key=lambda done: done.rung.params)[-2:]
    logs = [math.log(done.step_seconds * _ratio(config, done)) for done in asked]
    how = (
        f"as in {len(asked)} of the ladder's runs, of the same shape"
        if same
        else f"as in the ladder's {len(asked)} largest models, times the modelled ratio of the shapes"
    )
    first, slower = asked[-1], slowdown(asked, rungs)
    if slower != 1:
        how += f", × {slower:.3f} for the machine's pace in all of them"
    return Probe(
        step_seconds=math.exp(median(logs)) * slower,
        log_deviation=ONE_RUNG,
        num_steps=sum(done.rung.num_steps for done in asked),
        seconds=sum(done.seconds for done in _measured(asked, rungs)),
        ended_at=max(done.ended_at for done in rungs),
        dtype=first.dtype,
        num_threads=first.num_threads,
        memory_bytes=None,
        how=f"{how}, in {first.dtype} on {first.num_threads} × {first.device_name}",
        around=_around(same, slower),
        of_another_shape=not same,
    )


def _measured(asked: Sequence[DoneRung], rungs: Sequence[DoneRung]) -> Sequence[DoneRung]:
    """Return the rungs whose pace is in the step: all that have one, where those that are asked do."""
    paced = [done for done in rungs if done.pace is not None]
    return paced if all(done in paced for done in asked) else asked


def _around(same: Sequence[DoneRung], slower: float) -> MeasuredAround:
    """Return what rungs of the run's shape say of the time around steps, nothing without any."""
    if not same:
        return NOT_MEASURED

    def mean_of(name: str) -> float | None:
        found = [value for done in same if (value := getattr(done.around, name)) is not None]
        return slower * fmean(found) if found else None

    return MeasuredAround(validated_token=mean_of("validated_token"), look=mean_of("look"), save=mean_of("save"))


def _ratio(config: RunConfig, done: DoneRung) -> float:
    """Return the run's step over the rung's."""
    if is_shape_of(done.rung, config):
        return 1.0
    rung = done.rung
    sizes = {"num_layers": rung.num_layers, "d_model": rung.d_model, "d_ff": rung.d_ff}
    heads = {"num_heads": rung.num_heads, "num_kv_heads": rung.num_kv_heads, "head_dim": rung.head_dim}
    smaller = config.model_copy(update={"model": config.model.model_copy(update=sizes | heads)})
    return relative_step(config, done.dtype) / relative_step(smaller, done.dtype)
