"""Where a rank is in its run; and what ends one that makes no progress, so that its launcher starts all of them again.

A stopped process or a lost network raises nothing: the others wait for it in an exchange. Each rank watches its own
steps; one that waits in vain says where all its threads are and ends. A launcher (torchrun) then kills the others,
the one that hangs among them, and starts all again from the last checkpoint.
"""

from __future__ import annotations

import faulthandler
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

COMPUTING = "computing"  # the phase of a step
RESUMES = "The same command, or torchrun with --max-restarts, resumes from the last checkpoint"
STDERR = 2  # by its number: a thread that hangs may hold the lock of sys.stderr
UNWATCHED_STEPS = 3  # the first compile, and nothing says how long that may take
REMEMBERED_STEPS = 64
MAX_TIMES_THE_SLOWEST = 30
MIN_LIMIT_SECONDS = 60.0

Limit = float | Literal["auto"] | None


class RankProgress:
    """The step that is worked on, what is done for it, and the seconds spent in exchanges of steps so far."""

    def __init__(self) -> None:
        self.step, self.phase = 0, "preparing"
        self.trouble: str | None = None  # what the others are to know of this rank's end; "": it ended as it should
        # seconds in exchanges that have ended, and when the one under way began: one value, which changes at once
        self._exchanged = (0.0, 0.0)

    def enter(self, phase: str, step: int | None = None) -> None:
        self.phase, self.step = phase, self.step if step is None else step

    @property
    def is_exchanging(self) -> bool:
        return self._exchanged[1] > 0

    def exchanging(self) -> AbstractContextManager[None]:
        """Count the time inside as that of an exchange with other ranks."""
        return self._counted(is_exchanging=True)

    def computing(self) -> AbstractContextManager[None]:
        """Don't count the time inside, of an exchange under way, as that of an exchange."""
        return self._counted(is_exchanging=False)

    @contextmanager
    def _counted(self, *, is_exchanging: bool) -> Iterator[None]:
        before = self.is_exchanging
        self._count(is_exchanging)
        try:
            yield
        finally:
            self._count(before)

    def _count(self, is_exchanging: bool) -> None:
        self._exchanged = self.exchange_seconds(), time.perf_counter() if is_exchanging else 0.0

    def exchange_seconds(self) -> float:
        """Return the seconds in exchanges of steps, with those of one under way.

        Others aren't counted: while the first rank measures the machine or evaluates, the rest wait for no slow one.
        """
        seconds, since = self._exchanged
        return seconds + (time.perf_counter() - since if since and self.phase == COMPUTING else 0.0)

    @property
    def doing(self) -> str:
        return "waiting in an exchange" if self.is_exchanging else self.phase

    def __str__(self) -> str:
        return place_in_run(self.step, self.doing)


def place_in_run(step: int, phase: str) -> str:
    return f"in step {step}, {phase}" if step else phase


class Watchdog:
    """Watches the steps of one rank, from when each begins until the next does; saves and evaluations are a rest.

    One that takes too long ends the process, and says "Timeout" and where all its threads are. faulthandler's timer
    does so: code that keeps the interpreter's lock doesn't stop it.
    """

    def __init__(self, limit: Limit, world_size: int, progress: RankProgress | None = None) -> None:
        """`limit`: the seconds a step may take. auto: by the steps before it, and where there is but one rank, which
        nobody waits for, as None: no limit.
        """
        self._limit = None if limit == "auto" and world_size == 1 else limit
        self._progress = progress or RankProgress()
        self._began_at: float | None = None  # None: nothing is watched
        self._num_steps = 0
        self._durations: deque[float] = deque(maxlen=REMEMBERED_STEPS)

    def begin(self, step: int) -> None:
        """Watch from now on; `step` is the one that is worked on."""
        self._progress.enter(COMPUTING, step)
        self._watch()

    def end(self) -> None:
        """Take the step's time for a measure of those to come, and watch the way to the next."""
        if self._began_at is None:
            return
        if self._num_steps >= UNWATCHED_STEPS:
            self._durations.append(time.perf_counter() - self._began_at)
        self._num_steps += 1
        self._watch()

    def rest(self) -> None:
        """Watch nothing until a step begins: what comes may take any time."""
        self._progress.enter("saving or evaluating")
        self.close()

    def forget(self) -> None:
        """Watch as from the first step on: the steps to come are of another kind."""
        self._num_steps = 0
        self._durations.clear()

    def close(self) -> None:
        """Watch nothing any more."""
        self._began_at = None
        if self._limit is not None:
            faulthandler.cancel_dump_traceback_later()

    def limit_seconds(self) -> float | None:
        """Return how long a step may take now; None: there is no limit yet, or none at all."""
        if self._limit is None or self._num_steps < UNWATCHED_STEPS:
            return None
        if self._limit != "auto":
            return self._limit
        return max(MIN_LIMIT_SECONDS, MAX_TIMES_THE_SLOWEST * max(self._durations)) if self._durations else None

    def _watch(self) -> None:
        self._began_at = time.perf_counter()
        if (limit := self.limit_seconds()) is not None:
            faulthandler.dump_traceback_later(limit, exit=True, file=STDERR)
        elif self._limit is not None:  # of the step before there may have been one
            faulthandler.cancel_dump_traceback_later()
