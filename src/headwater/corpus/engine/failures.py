"""What went wrong with tasks, counted, and told when it is too much."""

from __future__ import annotations

from collections import deque

from headwater.corpus.engine.progress import Progress
from headwater.corpus.tasks.work import STAGES_OF_PARTS, Task, Work
from headwater.errors import DataError

MAX_FAILURES = 3
_MOST_REASONS = 10  # that are told of tasks that fail together


class Failures:
    """Failures of the tasks of a stage, and what becomes of these."""

    def __init__(self, work: Work, progress: Progress) -> None:
        self._work = work
        self._progress = progress
        self._whys: dict[Task, list[str]] = {}

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

    def settle(self, task: Task, why: str | None, waiting: deque[Task]) -> None:
        """Count a task as done; where `why` says why it isn't, let it wait again, before all others."""
        if why is None:
            self._progress.done(task)
        else:
            self.add((task, why))
            waiting.appendleft(task)

    def _third(self, task: Task, whys: list[str]) -> DataError:
        reasons = "; ".join(dict.fromkeys(whys))
        return DataError(
            f"{self._name(task)} could not be done in {MAX_FAILURES} tries: {reasons}; the same command tries again, "
            "without what is done already; take out of its source the files that are at fault, or raise "
            "corpus.engine.task_memory_bytes or task_seconds"
        )

    def _name(self, task: Task) -> str:
        if task.stage in STAGES_OF_PARTS:
            return f"{self._work.plan.parts[task.number]} ({task.stage})"
        return f"task {task.number} of stage {task.stage}"
