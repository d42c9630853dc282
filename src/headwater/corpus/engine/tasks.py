"""What an engine does, whatever that is: tasks, each by a function that any process finds by its address."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from headwater.core.task_store import TaskFolder


@dataclass(frozen=True, slots=True)
class Task:
    """The unit of work: what `stage` does to the item of this number."""

    stage: str
    number: int = 0


Do = Callable[[Task], None]


@dataclass(frozen=True, eq=False)
class TaskSet:
    """Tasks of some stages, which read and write files that every process sees.

    folder   where engines put scripts, logs and temporary files
    place    where outputs are
    maker    "module:function", called once a process: with `given`, as JSON has it; what hears of bytes that are read;
             and the number of cores that a task has. What it returns does a task.

    A task may be done twice, even at the same time: both make the same bytes.
    """

    folder: Path
    place: TaskFolder
    maker: str
    given: dict[str, Any]

    @property
    def address(self) -> str:
        return self.place.address_of(self.folder)

    def missing(self, tasks: Iterable[Task]) -> list[Task]:
        """Return those of some tasks that are not done."""
        raise NotImplementedError

    def name_of(self, task: Task) -> str:
        """Return what a task works on, for messages."""
        raise NotImplementedError

    def num_bytes_of(self, task: Task) -> int:
        """Return about how much a task works on, which says how far a stage is."""
        raise NotImplementedError

    def gpus_of(self, stage: str) -> float:
        return 0.0


def doer_of(maker: str, given: dict[str, Any], on_read: Callable[[int], None], num_cores: int) -> Do:
    """Return what does a task of a set, in this process."""
    module, _, name = maker.partition(":")
    do: Do = getattr(import_module(module), name)(given, on_read, num_cores)
    return do
