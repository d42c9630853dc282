"""The clock of a run: what is counted, when it is over, and how its time divides into compiling and stepping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FIRST_STEPS = 3  # in which functions are compiled; their rate says nothing about the others'


class Meter:
    """Counts from its making, just before the model is built, to the end of the last step.

    A contender calls `step_done` after each update and continues while `is_over` is False.
    """

    def __init__(self, max_seconds: float, probe_seconds: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at = clock()
        self._max_seconds = max_seconds
        self._probe_seconds = probe_seconds
        self._build_seconds = 0.0
        self._compile_seconds = 0.0
        self._step_ends: list[float] = []
        self.final_train_loss: float | None = None

    def built(self, compile_seconds: float) -> None:
        """Mark the end of building the model and its optimizer, of which `compile_seconds` went into compiling."""
        self._compile_seconds = compile_seconds
        self._build_seconds = self._clock() - self._started_at - compile_seconds

    def step_done(self, loss: float) -> None:
        self._step_ends.append(self._clock() - self._started_at)
        self.final_train_loss = loss

    @property
    def num_steps(self) -> int:
        return len(self._step_ends)

    @property
    def is_over(self) -> bool:
        """Return whether the time is up; a probe has some time after its first steps, whatever those took."""
        if not self._step_ends:
            return False
        elapsed = self._step_ends[-1]
        if self._probe_seconds is None:
            return elapsed >= self._max_seconds
        return len(self._step_ends) > FIRST_STEPS and elapsed - self._step_ends[FIRST_STEPS - 1] >= self._probe_seconds

    def summary(self) -> dict[str, Any]:
        """Return seconds = build_seconds + compile_seconds + steps × seconds_per_step.

        seconds_per_step is the mean after the first steps; what those took beyond it is part of compile_seconds.
        """
        ends = self._step_ends
        first = min(FIRST_STEPS, len(ends) - 1)
        before = ends[first - 1] if first else self._build_seconds + self._compile_seconds
        seconds_per_step = (ends[-1] - before) / (len(ends) - first)
        stepping = len(ends) * seconds_per_step
        return {
            "steps": len(ends),
            "seconds": ends[-1],
            "build_seconds": self._build_seconds,
            "compile_seconds": max(self._compile_seconds, ends[-1] - self._build_seconds - stepping),
            "seconds_per_step": seconds_per_step,
        }
