"""What signals ask of a process. In training they request something between two steps, and never interrupt one.

SIGINT and SIGTERM: save and stop. SIGUSR1: save and continue. A process is mostly killed soon after SIGTERM: a save
that would not end by then is not begun.

Outside of training SIGTERM interrupts as SIGINT does, with a message while there is time: what is finished is on disk
already. A library's call that can't be interrupted is ended after GRACE_SECONDS: SIGKILL soon follows SIGTERM.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

STDERR = 2  # by its number: the main thread may hold the lock of sys.stderr
GRACE_SECONDS = 5.0  # to end worker processes and to remove what is half-made; torchrun gives 30, Slurm mostly too


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


class Termination:
    """Raise KeyboardInterrupt in the main thread at the first SIGTERM; later ones are ignored.

    While another handler stands in its place it does nothing. A process that has not left the block GRACE_SECONDS after
    the signal is ended with `exit_status` and `last_words`.
    """

    def __init__(self, exit_status: int, last_words: str, grace_seconds: float = GRACE_SECONDS) -> None:
        self.is_requested = False
        self._exit_status, self._last_words, self._grace_seconds = exit_status, last_words, grace_seconds
        self._left = threading.Event()

    def __enter__(self) -> Termination:
        self._from, self._to = os.pipe()
        os.set_blocking(self._to, False)
        self._thread = threading.Thread(target=self._watch, name="termination", daemon=True)
        self._thread.start()
        self._previous: Any = signal.signal(signal.SIGTERM, self._interrupt)
        # Python runs a handler between two of its own instructions; this is written to immediately
        self._previous_wakeup = signal.set_wakeup_fd(self._to, warn_on_full_buffer=False)
        return self

    def __exit__(self, *exception: object) -> None:
        self._left.set()
        signal.set_wakeup_fd(self._previous_wakeup)
        if self._is_in_charge():
            signal.signal(signal.SIGTERM, self._previous)
        os.close(self._to)  # which ends the thread
        self._thread.join()
        os.close(self._from)

    def ignore_further(self) -> None:
        """Let no SIGTERM, not even after the block, change how a process ends that has stopped for one."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _is_in_charge(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._interrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.is_requested:
            self.is_requested = True
            raise KeyboardInterrupt

    def _watch(self) -> None:
        while numbers := os.read(self._from, 64):
            if signal.SIGTERM in numbers and self._is_in_charge() and not self._left.wait(self._grace_seconds):
                os.write(STDERR, f"{self._last_words}\n".encode())
                os._exit(self._exit_status)
