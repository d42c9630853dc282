"""Where a rank is in its run: the thread that trains says so, and those that watch it read it. No torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

COMPUTING = "computing"
"The phase of a step."


class Progress:
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
