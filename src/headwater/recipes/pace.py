"""How fast the machine is while a ladder climbs, by steps of the run itself. No torch.

A virtual machine drifts between speeds, a fifth apart and for half a minute to many minutes each, so that a rung's step
time is that of one of them. What else was tried for a measure of it says little: a product of matrices drifts by a
hundredth, copies of memory follow the steps of training half-way (docs/log.md). So a few steps of the run's own are
taken now and then, beside whichever rung is trained, and the run is expected at the mean of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from headwater.recipes.ladder_record import DoneRung
from headwater.records import Record

SECONDS_BETWEEN = 8.0
MOST_SHARE = 0.1  # of a rung's time; where steps are long, samples are rarer
MOST = 1.25  # the two speeds seen; a larger ratio is another machine, or a measurement gone wrong

Display = Callable[[Record], None]


class Pacemaker:
    """Shows what `display` shows, and has `sample` time the run's own step between those of a rung, in seconds."""

    def __init__(self, display: Display, clock: Callable[[], float], sample: Callable[[], float]) -> None:
        self._display, self._clock, self._sample = display, clock, sample
        self._next_at = clock()
        self._samples: list[float] = []

    def __call__(self, record: Record) -> None:
        self._display(record)
        if record["event"] == "finish" or (record["event"] == "step" and self._clock() >= self._next_at):
            started_at = self._clock()
            self._samples.append(self._sample())
            ended_at = self._clock()
            self._next_at = ended_at + max(SECONDS_BETWEEN, (ended_at - started_at) / MOST_SHARE)

    @property
    def pace(self) -> float | None:
        """The mean of all samples; None where nothing was measured."""
        return fmean(self._samples) if self._samples else None


def slowdown(asked: Sequence[DoneRung], rungs: Sequence[DoneRung]) -> float:
    """Return a step's time at the mean pace of all rungs, by their seconds, over that at the pace of the rungs `asked`.

    1 where the pace of one that is `asked` wasn't measured: on a GPU, or where the process died at its end.
    """
    if any(done.pace is None for done in asked):
        return 1.0
    expected, then = (_mean_pace(chosen) for chosen in (rungs, asked))
    return min(MOST, max(1 / MOST, expected / then))


def _mean_pace(rungs: Sequence[DoneRung]) -> float:
    known = [(done.seconds, done.pace) for done in rungs if done.pace is not None]
    return sum(seconds * pace for seconds, pace in known) / sum(seconds for seconds, _ in known)
