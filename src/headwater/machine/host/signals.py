"""Signals request something of a run between two steps; they never interrupt one.

SIGINT and SIGTERM: save and stop. SIGUSR1: save and continue. A process is mostly killed soon after SIGTERM: a save
that would not end by then is not begun.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any


class StopRequest:
    """Remember the first signal that requested a stop; a second SIGINT interrupts immediately."""

    def __init__(self, stop_within: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`stop_within`: seconds after the first SIGTERM in which the process must have ended; None: there is time."""
        self.signal_name: str | None = None
        self.save_requested = False
        self._stop_within, self._clock = stop_within, clock
        self._deadline: float | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._remember)
        self._previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._request_save)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal_name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal_name is None:
            self.signal_name = signal.Signals(number).name
        if number == signal.SIGTERM and self._deadline is None and self._stop_within is not None:
            self._deadline = self._clock() + self._stop_within

    def _request_save(self, number: int, frame: FrameType | None) -> None:
        self.save_requested = True

    def pass_on(self) -> None:
        """Let a signal that came too late do what it does to any process; call it after the block."""
        if self.signal_name is not None:
            signal.raise_signal(signal.Signals[self.signal_name])

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the process may be killed; None where nothing says that it will be."""
        return None if self._deadline is None else self._deadline - self._clock()
