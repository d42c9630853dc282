"""What an engine is: something that gets tasks done, in any order, by any process that sees the work folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from headwater.corpus.tasks.work import Task


class Listener(Protocol):
    """Whoever wants to know how far the work is."""

    def done(self, task: Task) -> None:
        """Hear that a task is done."""

    def read(self, num_bytes: int) -> None:
        """Hear that so much text more was read; from engines that know it before a task is done."""

    def failed(self, task: str, why: str) -> None:
        """Hear that a task, or several that are told as one, failed and is done again: a worker was lost, or a node."""


class Engine:
    """Does tasks. They read and write the work folder alone and may be done twice: the output is the same."""

    def run(self, tasks: Sequence[Task], listener: Listener) -> None:
        """Return when the output of every task is there; `listener` is told each.

        Raises what a task raised that the user can act on, and DataError for a task that can't be done.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of workers, where there are some."""
