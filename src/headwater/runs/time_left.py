"""How long a run has yet to train, for the terminal and for the page."""

from __future__ import annotations

from collections import deque
from statistics import fmean, median
from typing import Any

from headwater.core.records import Record, amount

USUAL_STEPS = 200
"The last ones, whose median is what a step takes."
PAUSED_STEPS = 1000
"The last ones, between which validations, probes and saves are counted: several, at the usual settings."


class TimeLeft:
    """An estimate by the steps of one process: what they take, and all that comes between two of them.

    Of steps the median counts: those in which kernels are compiled, or that something held up, say nothing of the
    others. Of what comes between the mean does: it comes seldom, and takes long.
    """

    def __init__(self) -> None:
        self._step_seconds: deque[float] = deque(maxlen=USUAL_STEPS)
        self._pause_seconds: deque[float] = deque(maxlen=PAUSED_STEPS)
        self._attempt: Any = None
        self._step_tokens = 0.0
        self._last_time: float | None = None

    def add(self, step: Record) -> None:
        """Take in the next record of a step; those of an earlier attempt count no more."""
        if step.get("attempt") != self._attempt:
            self._attempt, self._last_time = step.get("attempt"), None
            self._step_seconds.clear()
            self._pause_seconds.clear()
        seconds, now = amount(step, "seconds"), amount(step, "time")
        if seconds is not None:
            self._step_seconds.append(seconds)
            self._step_tokens = seconds * (amount(step, "tokens_per_second") or 0.0)
        if now is not None and self._last_time is not None:
            self._pause_seconds.append(max(0.0, now - self._last_time - (seconds or 0.0)))
        self._last_time = now

    @property
    def _usual(self) -> float:
        return median(self._step_seconds) if self._step_seconds else 0.0

    @property
    def _pause(self) -> float:
        return fmean(self._pause_seconds) if self._pause_seconds else 0.0

    @property
    def pause_fraction(self) -> float:
        """The part of the time that goes to what comes between steps: validations, probes, saves."""
        return self._pause / self._seconds if self._seconds else 0.0

    @property
    def _seconds(self) -> float | None:
        """What a step takes with what comes after it; None before anything is known."""
        if not self._step_seconds and not self._pause_seconds:
            return None
        return self._usual + self._pause

    def after(self, step: int, num_steps: int) -> float | None:
        """Return the seconds from a step to the last one; None before anything is known."""
        return None if self._seconds is None else max(0, num_steps - step) * self._seconds

    @property
    def tokens_per_second(self) -> float | None:
        """The rate that the time left goes by: that of the steps and of all that comes between them."""
        return self._step_tokens / self._seconds if self._seconds and self._step_tokens else None
