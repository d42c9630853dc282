"""Tasks over the text of a corpus: its shards in groups, so that a task reads some and compares their digests.

FOLDER/ask-STAGE/         what each task of a stage is given, as JSON
FOLDER/STAGE/000017/      what task 17 made

The folder is beside what is made of it, or in the corpus' store, and removed when that is done. Nothing is flushed
before: what a power cut damaged is found by its digest, and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headwater.core.files import DigestedFile, json_bytes, read_json, remove_folder
from headwater.core.stores import is_address
from headwater.core.task_output import TASK_FILE, TaskOutput, work_folder
from headwater.core.task_store import TaskFolder, TaskStore
from headwater.corpus.document import Document
from headwater.corpus.engine.engine import Engine
from headwater.corpus.engine.local import engine_for
from headwater.corpus.engine.progress import Progress
from headwater.corpus.engine.tasks import Do, Task, TaskSet
from headwater.corpus.load import list_shards, list_sources, read_corpus_manifest, shard_lines
from headwater.corpus.shards import parse_document
from headwater.corpus.sources.settings import EngineSettings

GROUP_BYTES = 100_000_000  # of text in a task, about: half a minute of encoding, and a shard of a store
MAX_GROUPS = 20_000  # of a source: a store opens a file for each
MIN_WORKER_BYTES = 10_000_000  # of text for each worker process: with less its start costs more than it does
_ITEMS = "tasks.json"
_INSIDE, _SETTING = "work", "corpus.engine.store"
_KEY_CHARACTERS = 16


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

    def documents(self, place: str) -> Iterator[Document]:
        """Yield the documents; raise DataError before those of a shard that isn't as it was written."""
        for name, digest in self.shards.items():
            yield from map(parse_document, shard_lines(place, name, digest))


def groups_of(corpus_dir: Path, *splits: str) -> list[ShardGroup]:
    """Return all shards of some splits in groups, by split and then by name of the source."""
    sizes, found = read_corpus_manifest(corpus_dir)["splits"], list[ShardGroup]()
    for split in splits:
        for source in sorted(list_sources(corpus_dir)):
            shards = list(list_shards(corpus_dir, f"{split}/{source}/").items())
            rate = sizes[split][source]["bytes"] / max(len(shards), 1)  # most are as large as the settings allow
            count = max(int(GROUP_BYTES / max(rate, 1)), len(shards) // MAX_GROUPS, 1)
            for at in range(0, len(shards), count):
                group = dict(shards[at : at + count])
                found.append(ShardGroup(split, source, group, round(rate * len(group))))
    return found


class ShardTasks(TaskSet):
    """Stages of tasks over a corpus' shards, and what comes of them, in a folder.

    What is given to a task has a `name` and a number of bytes, `num_bytes`, among the rest.
    """

    def __init__(self, folder: Path, place: TaskFolder, maker: str = "", given: dict[str, Any] | None = None) -> None:
        super().__init__(folder, place, maker, {**(given or {}), "work": place.address_of(folder)})
        self.items = cache(self._read_items)  # what the tasks of a stage are given

    def _read_items(self, stage: str) -> list[dict[str, Any]]:
        folder = self.folder / f"ask-{stage}"
        self.place.fetch([(folder, _ITEMS)])
        return list(read_json(folder / _ITEMS))

    def path_of(self, stage: str, number: int) -> Path:
        return self.folder / stage / f"{number:06d}"

    def missing(self, tasks: Iterable[Task]) -> list[Task]:
        paths = {task: self.path_of(task.stage, task.number) for task in tasks}
        done = self.place.done(paths.values())
        return [task for task, path in paths.items() if path not in done]

    def name_of(self, task: Task) -> str:
        return str(self.items(task.stage)[task.number]["name"])

    def num_bytes_of(self, task: Task) -> int:
        return int(self.items(task.stage)[task.number]["num_bytes"])

    def do_all(self, engine: Engine, stage: str, items: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
        """Have all tasks of a stage done; those that an earlier process did look whether it is still there."""
        question = self.folder / f"ask-{stage}"
        if not self.place.is_whole(question):
            self.place.remove(question)
            with self.place.new(question, TaskOutput) as output:
                write(output, _ITEMS, [json_bytes(items)])
        self.place.tidy([self.folder / stage])
        tasks = [Task(stage, number) for number in range(len(items))]
        engine.run(tasks, Progress(self, stage, len(tasks), tasks, say))

    def outputs(self, stage: str, *names: str) -> list[TaskOutput]:
        """Return what the tasks of a stage made, with files of these names, or all files, at hand."""
        paths = [self.path_of(stage, number) for number in range(len(self.items(stage)))]
        self.place.fetch((path, TASK_FILE) for path in paths)
        found = [self.place.output(path) for path in paths]
        self.place.fetch((each.folder, name) for each in found for name in names or each.digests)
        return found


def begin_work(out_dir: Path, key: str, layout: str, engine: EngineSettings) -> tuple[Path, TaskFolder]:
    """Return the folder of the work of this key, laid out so, and where that is; the work on others is removed."""
    place = _place_of(work_folder(out_dir), out_dir.name, engine.store)
    folder = place.top / f"{key.split(':')[-1][:_KEY_CHARACTERS]}-{layout}"
    for other in place.outputs_in(place.top):
        if other != folder:
            place.remove(other)
    return folder, place


def _place_of(top: Path, name: str, store: str | None) -> TaskFolder:
    return TaskFolder(top) if store is None else TaskStore(store, f"{_INSIDE}/{name}", _SETTING, top / "store")


def end_work(out_dir: Path, tasks: ShardTasks) -> None:
    """Remove all that was made on the way to what `out_dir` holds."""
    if isinstance(tasks.place, TaskStore):
        for folder in tasks.place.outputs_in(tasks.place.top):
            tasks.place.remove(folder)
    remove_folder(work_folder(out_dir))  # at once: a kill leaves nothing half removed inside it


def _open_tasks(address: str) -> ShardTasks:
    """Return the tasks that another process has at this address."""
    if not is_address(address):
        return ShardTasks(Path(address), TaskFolder(Path(address).parent))
    store, _, inside = address.rpartition(f"/{_INSIDE}/")
    name, _, folder = inside.partition("/")
    place = TaskStore(store, f"{_INSIDE}/{name}", _SETTING)
    return ShardTasks(place.top / folder, place)


Make = Callable[[dict[str, Any], TaskOutput], None]


def doing(given: Mapping[str, Any], make: Callable[[ShardTasks], Mapping[str, Make]]) -> Do:
    """Return what does a task by what makes, of each stage, an output out of what its task is given."""
    tasks = _open_tasks(given["work"])
    makes = make(tasks)

    def do(task: Task) -> None:
        path = tasks.path_of(task.stage, task.number)
        if tasks.place.is_whole(path):
            return
        tasks.place.remove(path)
        with tasks.place.new(path, TaskOutput) as output:
            makes[task.stage](tasks.items(task.stage)[task.number], output)

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
