"""How far a stage is and when it will be done, a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from headwater.core.numbers import duration
from headwater.corpus.engine.tasks import Task, TaskSet
from headwater.corpus.toml_tables import toml_table

SECONDS_BETWEEN_LINES = 10.0
MIN_DONE = 0.1  # of the bytes, before the time left is said: a first small task tells nothing of the others


class Progress:
    """Counts the tasks of a stage and says how far it is, at most every ten seconds."""

    def __init__(
        self,
        task_set: TaskSet,
        stage: str,
        num_tasks: int,
        missing: Sequence[Task],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = toml_table("headwater.corpus.engine", "stages").get(stage, stage)
        self._size = lambda task: max(task_set.num_bytes_of(task), 1)
        self._num_tasks = num_tasks
        self._num_done = num_tasks - len(missing)
        self._left = sum(map(self._size, missing))
        self._done_here = self._num_bytes_read = 0
        self._say = say
        self._clock = clock
        self._started_at = self._line_at = clock()
        if missing and self._num_done:
            say(f"{self._name}: {self._num_done:,} of {num_tasks:,} tasks were done before")

    def done(self, task: Task) -> None:
        self._num_done += 1
        self._done_here += self._size(task)
        self._left -= self._size(task)
        self._print_line_if_due()

    def read(self, num_bytes: int) -> None:
        """Count text that was read, where an engine knows it before a task is done."""
        self._num_bytes_read += num_bytes
        self._print_line_if_due()

    def failed(self, task: str, why: str) -> None:
        """Say that a task, or several that are told as one, is done again: a worker was lost, or a node."""
        self._say(f"{self._name}: {task} is done again: {why}")

    def _print_line_if_due(self) -> None:
        now = self._clock()
        if now - self._line_at < SECONDS_BETWEEN_LINES or not self._left:
            return
        self._line_at = now
        seconds = now - self._started_at
        line = f"{self._name}: {self._num_done:,} of {self._num_tasks:,} tasks"
        if self._num_bytes_read:
            line += f", {self._num_bytes_read / 1e6:,.0f} MB read, {self._num_bytes_read / seconds / 1e6:.1f} MB/s"
        if (left := self._seconds_left(seconds)) is not None:
            line += f", {duration(left)} to go"
        self._say(line)

    def _seconds_left(self, seconds: float) -> float | None:
        """Return how long the rest takes at the rate so far, None before enough is done to tell."""
        total = self._left + self._done_here
        # what was read of tasks that run counts, unless more text comes out of the files than they have bytes
        done = max(self._done_here, self._num_bytes_read if self._num_bytes_read <= total else 0)
        return seconds * (total - done) / done if done >= MIN_DONE * total else None
