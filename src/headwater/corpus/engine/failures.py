"""What went wrong with tasks, counted, and told when it is too much."""

from __future__ import annotations

from headwater.corpus.engine.interface import Listener
from headwater.corpus.tasks.work import Task, Work
from headwater.errors import DataError

MAX_FAILURES = 3


class Failures:
    """Failures of the tasks of a stage."""

    def __init__(self, work: Work, listener: Listener) -> None:
        self._work = work
        self._listener = listener
        self._whys: dict[Task, list[str]] = {}

    def add(self, task: Task, why: str) -> None:
        """Tell the listener of a failure; raise DataError, with files and all reasons, when it is a task's third."""
        whys = self._whys.setdefault(task, [])
        whys.append(why)
        if len(whys) < MAX_FAILURES:
            self._listener.failed(self._name(task), why)
            return
        reasons = "; ".join(dict.fromkeys(whys))
        raise DataError(
            f"{self._name(task)} could not be done in {MAX_FAILURES} tries: {reasons}; the same command tries again, "
            "without what is done already; take out of its source the files that are at fault, or raise "
            "corpus.engine.task_memory_bytes or task_seconds"
        )

    def _name(self, task: Task) -> str:
        if task.stage in ("sift", "verify", "write"):
            return f"{self._work.plan.parts[task.number]} ({task.stage})"
        return f"task {task.number} of stage {task.stage}"
