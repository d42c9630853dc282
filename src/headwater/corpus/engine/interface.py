"""What an engine is: something that gets tasks done, in any order, by any process that sees the work folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Self

from headwater.corpus.engine.progress import Progress
from headwater.corpus.sources.settings import EngineSettings
from headwater.corpus.tasks.work import Task, Work


class Engine:
    """Does tasks. They read and write the work folder alone and may be done twice: the output is the same."""

    def __init__(
        self,
        work: Work,
        settings: EngineSettings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._work, self._settings, self._clock, self._sleep = work, settings, clock, sleep

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when the output of every task is there; `progress` hears of each.

        Raises what a task raised that the user can act on, and DataError for a task that can't be done.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of workers, where there are some."""
