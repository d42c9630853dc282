"""How far the encoding of a corpus is and when it will be done, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from headwater.corpus.engine.progress import SECONDS_BETWEEN_LINES
from headwater.numbers import duration


class Progress:
    """Counts the bytes of the texts that are encoded, of `total_bytes`, and says how far it is every ten seconds."""

    def __init__(
        self, total_bytes: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total_bytes = total_bytes
        self._before = self._here = 0
        self._say, self._clock = say, clock
        self._started_at = self._last_line_at = clock()

    def was_done(self, num_bytes: int) -> None:
        """Count what an earlier process encoded."""
        self._before += num_bytes

    def done(self, num_bytes: int) -> None:
        self._here += num_bytes
        now = self._clock()
        left = self._total_bytes - self._before - self._here
        if now - self._last_line_at < SECONDS_BETWEEN_LINES or left <= 0:
            return
        self._last_line_at = now
        rate = self._here / (now - self._started_at)
        self._say(
            f"encoding: {(self._before + self._here) / 1e6:,.0f} of {self._total_bytes / 1e6:,.0f} MB, "
            f"{rate / 1e6:.1f} MB/s, {duration(left / rate)} to go"
        )
