"""What an engine is: something that gets tasks done, in any order, by any process that sees the work folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from headwater.corpus.tasks.work import Task

Done = Callable[[Task], None]


class Engine(Protocol):
    """Does tasks. They read and write the work folder alone and may be done twice: the output is the same."""

    def run(self, tasks: Sequence[Task], done: Done) -> None:
        """Return when the output of every task is there; `done` is told each.

        Raises what a task raised that the user can act on, and DataError for a task that can't be done.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
