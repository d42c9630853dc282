"""What a rung's records say of the time of the run: a step, and everything around steps. No torch.

A rung is short, so that what happens a few times in it weighs more than in its run: it saves as often in 125 steps as
a run in 625, and its first steps are slow. So a step is that of steady training, and what a save takes is counted by
itself: the state is written beside later steps, and takes a core from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from headwater.records import Record

SLOW_START = 2  # steps of an attempt in which buffers are made
MOST_MEDIANS = 1.5  # of the steps around it: what is slower was held up, and counts as this
NUM_AROUND = 10  # steps of a kind, on either side


@dataclass(frozen=True)
class MeasuredAround:
    """Seconds around steps as they were measured; None where they weren't.

    `validated_token` is a token of a validation, `probe` a probe, `save` what a save adds to the steps around it. What
    comes before the first step isn't among them: later rungs of a process find its libraries loaded, and the first may
    compile its kernels.
    """

    validated_token: float | None = None
    probe: float | None = None
    save: float | None = None


NOT_MEASURED = MeasuredAround()


@dataclass(frozen=True)
class RungTimes:
    """A step of steady training, and what lies around steps."""

    step_seconds: float
    around: MeasuredAround


def rung_times(records: Sequence[Record], num_validated_tokens: int) -> RungTimes:
    """Return what the records of a finished run say of the time of its parts.

    A validation has `num_validated_tokens`. The last one counts, and the last probe: the first compiles what they need.
    """
    steps, saves = _of(records, "step"), _of(records, "checkpoint")
    beside = _beside_saves(steps, saves)
    step_seconds = fmean(steady_steps(records) or _without_hold_ups(steps))

    probes = [record for record in records if "evaluation_seconds" in record and record["event"] != "validation"]
    probe_seconds = sum(record["evaluation_seconds"] for record in probes if record["step"] == steps[-1]["step"])
    around = MeasuredAround(
        validated_token=_of(records, "validation")[-1]["evaluation_seconds"] / num_validated_tokens,
        probe=probe_seconds or None,
        save=_save_seconds(steps, saves, beside, step_seconds),
    )
    return RungTimes(step_seconds, around)


def steady_steps(records: Sequence[Record]) -> list[float]:
    """Return the seconds of steps that were neither an attempt's first nor beside a save; none where all were."""
    steps = _of(records, "step")
    left_out = _first_steps(steps).union(*_beside_saves(steps, _of(records, "checkpoint")).values())
    return _without_hold_ups([record for record in steps if record["step"] not in left_out])


def _save_seconds(
    steps: Sequence[Record], saves: Sequence[Record], beside: dict[int, set[int]], step_seconds: float
) -> float | None:
    """Return what a save took from training: the wait for it, and what the steps beside it were slower by.

    No more than it was written for, since it takes one core at most. None where no save had a step after it.
    """
    seconds = {record["step"]: record["seconds"] for record in steps}
    found = []
    for record in saves:
        if together := beside.get(record["step"]):
            extra = sum(seconds[step] - step_seconds for step in together)
            found.append(record["seconds"] + min(max(0.0, extra), record["background_seconds"]))
    return fmean(found) if found else None


def is_computed_twice(record: Record) -> bool:
    """Return whether a step was computed a second time, for an audit or for int8's error: it took about double."""
    return bool(record.get("audited")) or "gradient_error" in record


def _without_hold_ups(steps: Sequence[Record]) -> list[float]:
    """Return the steps' seconds, each within bounds of its own kind's around it: those computed twice are one."""
    found = []
    for is_twice in (False, True):
        kind = [record["seconds"] for record in steps if is_computed_twice(record) is is_twice]
        for place, seconds in enumerate(kind):
            usual = median(kind[max(0, place - NUM_AROUND) : place + NUM_AROUND + 1])
            found.append(min(seconds, MOST_MEDIANS * usual))
    return found


def _of(records: Iterable[Record], event: str) -> list[Record]:
    return [record for record in records if record["event"] == event]


def _first_steps(steps: Sequence[Record]) -> set[int]:
    """Return the steps with which attempts began."""
    found, attempt, number = set[int](), None, 0
    for record in steps:
        number = number + 1 if record["attempt"] == attempt else 0
        attempt = record["attempt"]
        if number < SLOW_START:
            found.add(record["step"])
    return found


def _beside_saves(steps: Sequence[Record], saves: Sequence[Record]) -> dict[int, set[int]]:
    """Return, by the step of each save, the steps of the same attempt that were taken while it was written."""
    takes = {record["step"]: record["background_seconds"] for record in saves}
    found, save, left, attempt = dict[int, set[int]](), 0, 0.0, None
    first = _first_steps(steps)
    for record in steps:
        if record["attempt"] != attempt:
            attempt, left = record["attempt"], 0.0
        if left > 0 and record["step"] not in first:
            found.setdefault(save, set()).add(record["step"])
            left -= record["seconds"]
        if record["step"] in takes:
            save, left = record["step"], takes[record["step"]]
    return found
