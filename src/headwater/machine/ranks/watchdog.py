"""Where a rank is in its run; and what ends one that makes no progress, so that its launcher starts all of them again.

A stopped process or a lost network raises nothing: the others wait for it in an exchange. Each rank watches its own
steps; one that waits in vain says where all its threads are and ends. A launcher (torchrun) then kills the others,
the one that hangs among them, and starts all again from the last checkpoint.
"""

from __future__ import annotations

import faulthandler
import os
import threading
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
TICK_SECONDS = 1.0
WAITING_SECONDS = 5.0  # more for a rank that waits for others, so that the one that hangs is the first to end
TELLING_SECONDS = 1.2  # until a heartbeat has told the others

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

    Time is counted in ticks of a thread: a process that was suspended as a whole has not hung.
    """

    def __init__(self, limit: Limit, rank: int, world_size: int, progress: RankProgress | None = None) -> None:
        """`limit`: the seconds a step may take. auto: by the steps before it, and where there is but one rank, which
        nobody waits for, as None: no limit.
        """
        self._limit = None if limit == "auto" and world_size == 1 else limit
        self._rank, self._world_size = rank, world_size
        self._progress = progress or RankProgress()
        self._tick_seconds = TICK_SECONDS if isinstance(limit, str | None) else min(TICK_SECONDS, limit / 10)
        self._ticks = 0
        self._since: int | None = None  # the tick from which it is watched; None: it isn't
        self._num_steps = 0
        self._durations: deque[float] = deque(maxlen=REMEMBERED_STEPS)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, step: int) -> None:
        """Watch from now on; `step` is the one that is worked on."""
        self._progress.enter(COMPUTING, step)
        self._since = self._ticks
        if self._thread is None and self._limit is not None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Take the step's time for a measure of those to come, and watch the way to the next."""
        if self._since is None:
            return
        now = self._ticks
        if self._num_steps >= UNWATCHED_STEPS:
            self._durations.append((now - self._since + 1) * self._tick_seconds)
        self._num_steps += 1
        self._since = now

    def rest(self) -> None:
        """Watch nothing until a step begins: what comes may take any time."""
        self._progress.enter("saving or evaluating")
        self._since = None

    def forget(self) -> None:
        """Watch as from the first step on: the steps to come are of another kind."""
        self._num_steps = 0
        self._durations.clear()

    def close(self) -> None:
        """Watch nothing any more."""
        self._since = None
        self._closed.set()

    def limit_seconds(self) -> float | None:
        """Return how long a step may take now; None: there is no limit yet, or none at all."""
        if self._limit is None or self._num_steps < UNWATCHED_STEPS:
            return None
        if self._limit != "auto":
            return self._limit
        durations = tuple(self._durations)  # the thread that trains may clear them meanwhile
        return max(MIN_LIMIT_SECONDS, MAX_TIMES_THE_SLOWEST * max(durations)) if durations else None

    def _watch(self) -> None:
        while not self._closed.wait(self._tick_seconds):
            self._ticks += 1
            since, limit = self._since, self.limit_seconds()
            seconds = 0.0 if since is None else (self._ticks - since) * self._tick_seconds
            if limit is not None and seconds > limit + WAITING_SECONDS * self._progress.is_exchanging:
                self._end_process(seconds, limit)

    def _end_process(self, seconds: float, limit: float) -> None:
        why = "It waits for a rank that hangs" if self._progress.is_exchanging else "It hangs"
        line = (
            f"rank {self._rank} of {self._world_size} ends: step {self._progress.step} has taken {seconds:.1f} s, "
            f"and train.hang_seconds allows {limit:.1f}. {why}. {RESUMES}. Its threads:\n"
        )
        os.write(STDERR, line.encode())
        faulthandler.dump_traceback(STDERR, all_threads=True)
        if self._world_size > 1:
            self._progress.trouble = "waited in vain" if self._progress.is_exchanging else "hung"
            time.sleep(TELLING_SECONDS)
        os._exit(1)  # nothing that hangs is waited for; all that counts is on disk, or promised nothing
