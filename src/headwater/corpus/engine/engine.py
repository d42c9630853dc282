"""What an engine is, and what each does where tasks fail: count, say when it is too much, wait for what may pass."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

from headwater.core.errors import DataError, PassingError
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Task, TaskSet
from headwater.corpus.sources.settings import EngineSettings

MAX_FAILURES = 3
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 30.0, 600.0  # for a network: each try took a minute itself
_MOST_REASONS = 10  # that are told of tasks that fail together


class Failure(NamedTuple):
    """Why a task failed, and whether that may pass."""

    why: str
    may_pass: bool = False


class Waiting:
    """Tasks that wait for a worker, some of them until a time."""

    def __init__(self, tasks: Iterable[Task], clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._ready = deque(tasks)
        self._later: dict[Task, float] = {}

    def __bool__(self) -> bool:
        return bool(self._ready or self._later)

    def next(self) -> Task | None:
        """Return the next task, None if none is ready."""
        now = self.clock()
        for task in [task for task, at in self._later.items() if at <= now]:
            del self._later[task]
            self._ready.append(task)
        return self._ready.popleft() if self._ready else None

    def seconds_to_next(self) -> float:
        return 0.0 if self._ready or not self._later else max(min(self._later.values()) - self.clock(), 0.0)

    def again(self, task: Task) -> None:
        self._ready.appendleft(task)

    def later(self, task: Task, seconds: float) -> None:
        self._later[task] = self.clock() + seconds


class Failures:
    """Failures of the tasks of a stage, and what becomes of these."""

    def __init__(self, task_set: TaskSet, progress: Progress, max_away_seconds: float = 0.0) -> None:
        self._task_set = task_set
        self._progress = progress
        self._max_away_seconds = max_away_seconds
        self._whys: dict[Task, list[str]] = {}
        self._away: dict[Task, tuple[float, float]] = {}  # since when, and how long it waited last

    def add(self, *failed: tuple[Task, str]) -> None:
        """Tell the progress why tasks failed, of many each reason once and the most frequent alone.

        Raises DataError, with files and all reasons, when it is a task's third failure.
        """
        by_reason: dict[str, list[Task]] = {}
        for task, why in failed:
            whys = self._whys.setdefault(task, [])
            whys.append(why)
            if len(whys) == MAX_FAILURES:
                raise self._third(task, whys)
            by_reason.setdefault(why, []).append(task)
        reasons = sorted(by_reason.items(), key=lambda item: -len(item[1]))
        for why, tasks in reasons[:_MOST_REASONS]:
            others = f" (and {len(tasks) - 1:,} more)" if len(tasks) > 1 else ""
            self._progress.failed(self._name(tasks[0]) + others, why)
        rest = reasons[_MOST_REASONS:]
        if rest:
            count = sum(len(tasks) for _, tasks in rest)
            self._progress.failed(f"each of {count:,} other tasks", f"{len(rest):,} other reasons")

    def settle(self, task: Task, failure: Failure | None, waiting: Waiting) -> None:
        """Count a task as done; if it failed let it wait again, before all others, or for what may pass a while."""
        if failure is None:
            self._progress.done(task)
        elif failure.may_pass:
            waiting.later(task, self.seconds_away(task, failure.why, waiting.clock()))
        else:
            self.add((task, failure.why))
            waiting.again(task)

    def seconds_away(self, task: Task, why: str, now: float) -> float:
        """Return how long to wait before a task is tried again that failed at what may pass, and say so.

        Raises PassingError if it has been so for longer than the settings allow.
        """
        since, last = self._away.get(task, (now, 0.0))
        seconds = min(max(2 * last, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
        if now - since + seconds > self._max_away_seconds:
            hours = f"corpus.engine.max_away_seconds={self._max_away_seconds:g}"
            raise PassingError(f"{why}; for {now - since:,.0f} s, {hours}; the same command goes on when it is back")
        self._away[task] = since, seconds
        self._progress.failed(self._name(task), f"{why}; in {seconds:.0f} s")
        return seconds

    def _third(self, task: Task, whys: list[str]) -> DataError:
        reasons = "; ".join(dict.fromkeys(whys))
        return DataError(
            f"{self._name(task)} could not be done in {MAX_FAILURES} tries: {reasons}; the same command tries again, "
            "without what is done already; take out of its source the files that are at fault, or raise "
            "corpus.engine.task_memory_bytes or task_seconds"
        )

    def _name(self, task: Task) -> str:
        return f"{self._task_set.name_of(task)} ({task.stage})"


class Engine:
    """Does the tasks of a set."""

    def __init__(
        self,
        task_set: TaskSet,
        settings: EngineSettings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._task_set, self._settings, self._clock, self._sleep = task_set, settings, clock, sleep

    def run(self, tasks: Sequence[Task], progress: Progress) -> None:
        """Return when the output of every task is there; `progress` hears of each.

        Raises what a task raised that the user can act on, and DataError for a task that can't be done.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of workers, where there are some."""
