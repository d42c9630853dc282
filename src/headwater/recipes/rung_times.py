"""What a rung's records say of the time of the run: a step, and everything around steps. No torch.

A rung is short, so that what happens a few times in it weighs more than in its run: it saves as often in 125 steps as
a run in 200, and its first steps are slow. So a step is that of steady training, and what a save takes is counted by
itself: the state is written while steps go on, and takes a core from those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from headwater.records import Record

SLOW_START = 2  # steps of an attempt in which buffers are made
MOST_MEDIANS = 1.5  # what is slower than this was held up; it counts as this


@dataclass(frozen=True)
class MeasuredAround:
    """Seconds around steps as they were measured; None where they weren't.

    `validated_token` is a token of a validation, `look` a look, `save` what a save adds to the steps around it. What
    comes before the first step isn't among them: later rungs of a process find its libraries loaded, and the first may
    compile its kernels.
    """

    validated_token: float | None = None
    look: float | None = None
    save: float | None = None


NOT_MEASURED = MeasuredAround()


@dataclass(frozen=True)
class RungTimes:
    """A step of steady training, and what lies around steps."""

    step_seconds: float
    around: MeasuredAround


def rung_times(records: Sequence[Record], num_validated_tokens: int) -> RungTimes:
    """Return what the records of a finished run say of the time of its parts.

    A validation of it has so many tokens. The last one counts, and the last look: the first compiles what looks need.
    """
    steps, saves = _of(records, "step"), _of(records, "checkpoint")
    beside = _beside_saves(steps, saves)
    left_out = beside | _first_steps(steps)
    steady = [record["seconds"] for record in steps if record["step"] not in left_out]
    if not steady:  # a rung of a handful of steps
        steady = [record["seconds"] for record in steps]
    most = MOST_MEDIANS * median(steady)
    step_seconds = fmean(min(seconds, most) for seconds in steady)

    validated = _of(records, "validation")[-1]["evaluation_seconds"]
    looks = [record for record in records if "evaluation_seconds" in record and record["event"] != "validation"]
    looked = sum(record["evaluation_seconds"] for record in looks if record["step"] == steps[-1]["step"])
    waited = sum(record["seconds"] for record in saves)
    held_up = sum(record["seconds"] - step_seconds for record in steps if record["step"] in beside)
    followed = [record for record in saves if record["step"] < steps[-1]["step"]]
    around = MeasuredAround(
        validated_token=validated / num_validated_tokens,
        look=looked or None,
        save=max(0.0, held_up / len(followed)) + waited / len(saves) if followed else None,
    )
    return RungTimes(step_seconds, around)


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


def _beside_saves(steps: Sequence[Record], saves: Sequence[Record]) -> set[int]:
    """Return the steps that went on while a checkpoint was written."""
    takes = {record["step"]: record["background_seconds"] for record in saves}
    found, writing = set[int](), 0.0
    for record in steps:
        if writing > 0:
            found.add(record["step"])
            writing = max(0.0, writing - record["seconds"])
        writing += takes.get(record["step"], 0.0)
    return found
