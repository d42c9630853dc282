"""How fast the machine is at the moment, and how fast it was while a ladder climbed. No torch.

A virtual machine drifts between speeds, a fifth apart and for half a minute to many minutes each (docs/log.md), so that
a rung's step time is that of one of them. The pace, FLOP/s of one core in fp32 over its own time, is the same work in
a twentieth of a second: rungs carry it, and a run is expected at the mean of all the paces that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headwater.machine.host import float32_rate_per_core
from headwater.recipes.ladder_record import DoneRung
from headwater.records import Record

SECONDS_BETWEEN = 4.0  # a sample takes 0.06 s
NOW_SECONDS = 60.0  # for how long the pace of this moment is taken to last
MOST = 1.25  # the two speeds seen; a larger ratio is another machine, or a measurement gone wrong

Display = Callable[[Record], None]


class Pacemaker:
    """Shows what `display` shows, and takes the machine's pace between steps."""

    def __init__(
        self, display: Display, clock: Callable[[], float], rate: Callable[[], float] = float32_rate_per_core
    ) -> None:
        self._display, self._clock, self._rate = display, clock, rate
        self._next_at = clock()
        self._seconds_per_flop: list[float] = []

    def __call__(self, record: Record) -> None:
        self._display(record)
        if record["event"] == "finish" or (record["event"] == "step" and self._clock() >= self._next_at):
            self._take()

    def _take(self) -> None:
        rate = self._rate()
        if rate > 0:  # 0 where the processor's clock is too coarse
            self._seconds_per_flop.append(1 / rate)
        self._next_at = self._clock() + SECONDS_BETWEEN

    @property
    def pace(self) -> float | None:
        """The harmonic mean: seconds add up, rates don't."""
        return len(self._seconds_per_flop) / sum(self._seconds_per_flop) if self._seconds_per_flop else None


def slowdown(asked: Sequence[DoneRung], rungs: Sequence[DoneRung], pace_now: float | None) -> float:
    """Return a step's time at the pace that is expected of the run, over that at the pace of the rungs `asked`.

    Expected is the mean over all that is known, by its seconds: rungs, and this moment for NOW_SECONDS. 1 where the
    pace of one that is `asked` wasn't measured: on a GPU, or where the process died at its end.
    """
    if any(done.pace is None for done in asked):
        return 1.0
    known = [(done.seconds, done.pace) for done in rungs if done.pace]
    expected = _mean_seconds([*known, (NOW_SECONDS, pace_now)] if pace_now else known)
    then = _mean_seconds([(done.seconds, done.pace) for done in asked if done.pace])
    return min(MOST, max(1 / MOST, expected / then))


def _mean_seconds(paces: Sequence[tuple[float, float]]) -> float:
    """Return the mean seconds of a FLOP of (seconds, FLOP/s)."""
    return sum(seconds / pace for seconds, pace in paces) / sum(seconds for seconds, _ in paces)
