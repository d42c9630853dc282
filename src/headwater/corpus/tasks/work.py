"""The folder in which a corpus is made, beside the corpus and removed after it is done.

KEY/STAGE/000003/     what task 3 of a stage made; task.json has its facts and the digests of its files
KEY/plan/000000/      see plan
KEY/NAME/000000/      what the driver found out between two stages
KEY/temporary/        what workers of the local pool need for a moment; a resumed build empties it

A task's folder appears whole: a task whose folder is there is done, and one that was killed leaves nothing under that
name. So a build that is started again does only what is missing. Nothing here is flushed to the device, since all of it
can be made again: what a power cut damaged is found by its digests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core import task_output as outputs
from headwater.core.task_output import new_output, read_output, remove_damaged
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks.arrays import ArrayFile, Stream, write_arrays, write_streams
from headwater.corpus.tasks.plan import Plan, write_plan

_LAYOUT = "7"  # raise it when what tasks write is laid out differently: work that an older version began is removed
STAGES_OF_PARTS = ("filter", "pages", "verify", "write")  # others have tasks of ranges of keys
_ARRAYS = "arrays.bin"
_PLAN = "plan/000000"


@dataclass(frozen=True, slots=True)
class Task:
    """The unit of work: what `stage` does to number `number`, whatever the stage counts.

    What the driver finds out between two stages is number 0 of a stage of its own.
    """

    stage: str
    number: int = 0


class Output(outputs.TaskOutput):
    """A task's folder before it is committed."""

    def add_digests(self, digests: dict[Path, str]) -> None:
        """Note the digests of files written into the folder."""
        self.digests |= {path.relative_to(self.folder).as_posix(): digests[path] for path in digests}

    def write_arrays(self, arrays: dict[str, np.ndarray], name: str = _ARRAYS) -> None:
        self.digests[name] = write_arrays(self.folder / name, arrays)

    def write_streams(self, streams: dict[str, Stream], name: str = _ARRAYS) -> None:
        self.digests[name] = write_streams(self.folder / name, streams)


def begin_work(corpus_dir: Path, settings: CorpusSettings, key: str) -> Path:
    """Return the folder in which the corpus of this key is made, with its plan; the work on others is removed.

    What an earlier process left there is verified: a folder that a crash damaged is removed and so done again.
    """
    folder = outputs.begin_work(corpus_dir, key, _LAYOUT)
    for stage in sorted(folder.iterdir()) if folder.is_dir() else []:
        remove_damaged(stage)
    if not (folder / _PLAN).is_dir():
        with new_output(folder / _PLAN, Output) as output:
            output.digests = write_plan(output.folder, settings, key)
    return folder


class Work:
    """A work folder with its plan: which tasks are done, and what they made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = Plan(folder / _PLAN)

    def path_of(self, stage: str, number: int = 0) -> Path:
        return self.folder / stage / f"{number:06d}"

    def is_done(self, task: Task) -> bool:
        return self.path_of(task.stage, task.number).is_dir()

    @contextmanager
    def new_output(self, task: Task) -> Iterator[Output]:
        """Yield the output of a task, which is committed when the block ends without an error."""
        with new_output(self.path_of(task.stage, task.number), Output) as output:
            yield output

    def facts_of(self, stage: str, number: int = 0) -> dict[str, Any]:
        return read_output(self.path_of(stage, number)).facts

    def digests_of(self, stage: str, number: int) -> dict[str, str]:
        """Return the digest of every file that a task wrote, by its name in the task's folder."""
        return read_output(self.path_of(stage, number)).digests

    def arrays_of(self, stage: str, number: int = 0, name: str = _ARRAYS) -> ArrayFile:
        return ArrayFile(self.path_of(stage, number) / name)
