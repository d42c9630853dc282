"""Tasks over the text of a corpus: its shards in groups, so that a task reads some and compares their digests.

FOLDER/ask-STAGE/         what each task of a stage is given, as JSON
FOLDER/STAGE/000017/      what task 17 made

The folder is beside what is made of it and removed when that is done. Nothing is flushed before: what a power cut
damaged is found by its digest, and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headwater.core.errors import StorageError
from headwater.core.files import DigestedFile, json_bytes, read_json, remove_folder
from headwater.core.task_output import TaskOutput, is_whole, new_output, read_output, remove_short
from headwater.corpus.document import Document
from headwater.corpus.engine.engine import Engine
from headwater.corpus.engine.local import engine_for
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Do, Task, TaskSet
from headwater.corpus.load import list_shards, list_sources, read_corpus_manifest, shard_lines
from headwater.corpus.shards import parse_document
from headwater.corpus.sources.settings import EngineSettings

GROUP_BYTES = 16_000_000  # of compressed shards in a task: some 50 MB of text, which take some 10 s to encode
MIN_WORKER_BYTES = 50_000_000  # of text for each worker process: with less its start costs more than it does


@dataclass(frozen=True)
class ShardGroup:
    """Consecutive shards of a source in a split, with their digests; `num_bytes` of text, about."""

    split: str
    source: str
    shards: dict[str, str]
    num_bytes: int

    @property
    def name(self) -> str:
        first, *others = self.shards
        return first + (f" and {len(others)} more" if others else "")

    def given(self) -> dict[str, Any]:
        return {"name": self.name, **asdict(self)}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ShardGroup:
        return cls(given["split"], given["source"], given["shards"], given["num_bytes"])

    def documents(self, corpus_dir: Path) -> Iterator[Document]:
        """Yield the documents; raise DataError before those of a shard that isn't as it was written."""
        for name, digest in self.shards.items():
            yield from map(parse_document, shard_lines(corpus_dir, name, digest))


def groups_of(corpus_dir: Path, *splits: str) -> list[ShardGroup]:
    """Return all shards of some splits in groups, by split and then by name of the source."""
    sizes, found = read_corpus_manifest(corpus_dir)["splits"], list[ShardGroup]()
    for split in splits:
        for source in sorted(list_sources(corpus_dir)):
            shards = list_shards(corpus_dir, f"{split}/{source}/")
            on_disk = {name: _size(corpus_dir / name) for name in shards}
            rate = sizes[split][source]["bytes"] / max(sum(on_disk.values()), 1)
            group, num_bytes = dict[str, str](), 0
            for name, digest in shards.items():
                if group and num_bytes + on_disk[name] > GROUP_BYTES:
                    found.append(ShardGroup(split, source, group, round(num_bytes * rate)))
                    group, num_bytes = {}, 0
                group[name] = digest
                num_bytes += on_disk[name]
            if group:
                found.append(ShardGroup(split, source, group, round(num_bytes * rate)))
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0  # who reads it says that it is missing


class ShardTasks(TaskSet):
    """Stages of tasks over a corpus' shards, and what comes of them, in a folder.

    What is given to a task has a `name` and a number of bytes, `num_bytes`, among the rest.
    """

    def __init__(self, folder: Path, maker: str = "", given: dict[str, Any] | None = None) -> None:
        super().__init__(folder, maker, {"folder": str(folder.absolute()), **(given or {})})
        self.items = cache(self._read_items)  # what the tasks of a stage are given

    def _read_items(self, stage: str) -> list[dict[str, Any]]:
        return list(read_json(self.folder / f"ask-{stage}" / "tasks.json"))

    def path_of(self, task: Task) -> Path:
        return self.folder / task.stage / f"{task.number:06d}"

    def is_done(self, task: Task) -> bool:
        return self.path_of(task).is_dir()

    def name_of(self, task: Task) -> str:
        return str(self.items(task.stage)[task.number]["name"])

    def num_bytes_of(self, task: Task) -> int:
        return int(self.items(task.stage)[task.number]["num_bytes"])

    def do_all(self, engine: Engine, stage: str, items: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
        """Have all tasks of a stage done; those that an earlier process did look whether it is still there."""
        question = self.folder / f"ask-{stage}"
        if not is_whole(question):
            remove_folder(question)
            with new_output(question, TaskOutput) as output:
                write(output, "tasks.json", [json_bytes(items)])
        remove_short(self.folder / stage)
        tasks = [Task(stage, number) for number in range(len(items))]
        engine.run(tasks, Progress(self, stage, len(tasks), tasks, say))

    @contextmanager
    def output(self, task: Task) -> Iterator[TaskOutput]:
        """Yield what a task makes; where another process was faster its output stays: both are the same."""
        is_complete = False
        try:
            with new_output(self.path_of(task), TaskOutput) as output:
                yield output
                is_complete = True
        except (StorageError, OSError):
            if not (is_complete and self.is_done(task)):
                raise

    def outputs(self, stage: str) -> list[TaskOutput]:
        return [read_output(self.path_of(Task(stage, number))) for number in range(len(self.items(stage)))]


Make = Callable[[dict[str, Any], TaskOutput], None]


def doing(tasks: ShardTasks, make: Mapping[str, Make]) -> Do:
    """Return what does a task by what makes, of each stage, an output out of what its task is given."""

    def do(task: Task) -> None:
        path = tasks.path_of(task)
        if is_whole(path):
            return
        remove_folder(path)
        with tasks.output(task) as output:
            make[task.stage](tasks.items(task.stage)[task.number], output)

    return do


def write(output: TaskOutput, name: str, blocks: Iterable[Any]) -> None:
    """Write a file of a task's output, a block after another."""
    with DigestedFile(output.folder / name) as file:
        for block in blocks:
            file.write(block)
    output.digests[name] = file.digest


def engine_of(settings: EngineSettings, tasks: ShardTasks, groups: Sequence[ShardGroup]) -> Engine:
    """Return the engine; what one process does in seconds is worth no other."""
    return engine_for(settings, tasks, sum(group.num_bytes for group in groups) // MIN_WORKER_BYTES)
