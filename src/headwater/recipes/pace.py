"""How fast the machine is while a ladder climbs, by steps of the run itself. No torch.

A virtual machine drifts between speeds, 13 to 24 % apart and for half a minute to many minutes each, so that a rung's
step time is that of one of them. What else was tried for a measure of it says little: a product of matrices drifts by a
hundredth, copies of memory follow the steps of training half-way (docs/log.md). So a few steps of the run's own are
taken now and then, beside whichever rung is trained, and the run is expected at the mean of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from headwater.machine.memory import available_bytes, memory_bytes, resident_bytes
from headwater.recipes.ladder_record import DoneRung
from headwater.recipes.planned_device import Machinery, microbatch_tokens
from headwater.recipes.run_config import RunConfig
from headwater.records import Record

SECONDS_BETWEEN = 8.0
MOST_SHARE = 0.1  # of a ladder's time; where steps are long, samples are rarer
NUM_WARMUP, NUM_MEASURED = 1, 5  # steps of a sample: the first one finds its weights out of cache
MOST = 1.25  # the speeds seen; a larger ratio is another machine, or a measurement gone wrong

Display = Callable[[Record], None]


class Pacemaker:
    """Has `sample` time the run's own step between those of rungs, in seconds; a sample that fails was the last one."""

    def __init__(self, clock: Callable[[], float], sample: Callable[[], float], say: Callable[[str], None]) -> None:
        self._clock, self._sample, self._say = clock, sample, say
        self._next_at: float | None = clock()
        self._samples: list[float] = []

    def beside(self, display: Display) -> Display:
        """Begin a rung: return a display that shows what `display` shows, and takes samples after steps."""
        self._samples = []

        def shown(record: Record) -> None:
            display(record)
            if record["event"] == "step" and self._next_at is not None and self._clock() >= self._next_at:
                self._take(self._clock())

        return shown

    def _take(self, started_at: float) -> None:
        try:
            self._samples.append(self._sample())
        except Exception as error:  # of whatever kind: a ladder is worth more than its pace
            self._say(f"no further measurement of the machine's pace: {error}")
            self._next_at = None
        else:
            ended_at = self._clock()
            self._next_at = ended_at + max(SECONDS_BETWEEN, (ended_at - started_at) / MOST_SHARE)

    @property
    def pace(self) -> float | None:
        """The median of the rung's samples, since one may meet another program; None where nothing was measured."""
        return median(self._samples) if self._samples else None


def can_take_pace(found: Machinery) -> bool:
    """Return whether the run's steps can be taken beside others: on a processor with memory for both.

    A GPU keeps its pace, and steps between its own would hold it up.
    """
    free = min(memory_bytes(), available_bytes() + resident_bytes())
    return found.is_processor and 2 * found.memory.median < free


def share_of_samples(config: RunConfig, found: Machinery) -> float:
    """Return what samples take over what rungs take, on the machine that was found for the run."""
    if not can_take_pace(found):
        return 0.0
    portion = microbatch_tokens(config) / config.train.batch_tokens
    return min(MOST_SHARE, (NUM_WARMUP + NUM_MEASURED) * portion * found.step.median / SECONDS_BETWEEN)


def slowdown(asked: Sequence[DoneRung], rungs: Sequence[DoneRung]) -> float:
    """Return a step's time at the mean pace of all rungs, by their seconds, over that at the pace of the rungs `asked`.

    1 where the pace of one that is `asked` wasn't measured: on a GPU, in a rung that was trained in several attempts.
    """
    if any(done.pace is None for done in asked):
        return 1.0
    expected, then = (_mean_pace(chosen) for chosen in (rungs, asked))
    return min(MOST, max(1 / MOST, expected / then))


def _mean_pace(rungs: Sequence[DoneRung]) -> float:
    known = [(done.seconds, done.pace) for done in rungs if done.pace is not None]
    return sum(seconds * pace for seconds, pace in known) / sum(seconds for seconds, _ in known)
