"""The folder in which a corpus is made, beside the corpus. What is done there stays for the next build with it.

lines/KEY/              how many lines a slice of a large file has
texts/KEY/              what a slice of a source holds, read: texts.parquet, what was dropped; KEY is what was read, how
columns/MEASURE-KEY/    what a measure says of these texts
own, verify, copied, shortened, write: what was done with some of these texts, by what was asked of them
plans/KEY/              settings and slices of one build, and what it decided between two stages

A task's folder appears whole: a task whose folder is there is done, and one that was killed leaves nothing under that
name. Nothing here is flushed to the device, since all of it can be made again. What a power cut left short is found
by its size when a build begins; pages of Parquet have checksums for the rest.

With corpus.engine.store all of it is in the store, and the folder holds what this process fetched (core.task_store).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.core import task_output as outputs
from headwater.core.errors import DataError
from headwater.core.files import DigestedFile, digest_json, remove_folder
from headwater.core.stores import is_address
from headwater.core.task_output import read_output, work_folder
from headwater.core.task_store import TaskFolder, TaskStore
from headwater.corpus.engine.tasks import Task, TaskSet
from headwater.corpus.measures.chosen import ChosenMeasure, chosen_measures, values_key
from headwater.corpus.shards import read_shard
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks.plan import PLAN_FILES, Plan, write_plan

_LAYOUT = "8"  # raise it when what tasks write is laid out differently: work that an older version began is removed
TEXTS, COLUMNS, OWN, VERIFY, SHORTENED, WRITE = "texts", "columns", "own", "verify", "shortened", "write"
COPIED = "copied"  # passages that stood before
GPU_COLUMNS = "gpu_columns"  # of the measures that want GPUs
LINES = "lines"  # of slices of large files of lines, counted
STAGES = (LINES, TEXTS, COLUMNS, OWN, VERIFY, COPIED, SHORTENED, WRITE)
_PLANS, _PLAN = "plans", "plan"
TEXTS_FILE, _DOCUMENTS_FILE = "texts.parquet", "documents.parquet"
_INSIDE, _OF_STORE = f"work/{_LAYOUT}", f"{_LAYOUT}-store"  # of a store, where the finished corpus is, too
SETTING = "corpus.engine.store"
_KEY_CHARACTERS = 20
_ROWS_AT_ONCE = 256
RECORD_BITS = 32  # of a document's number: those above them are its slice's, so that numbers are in reading order


class Output(outputs.TaskOutput):
    """A task's folder before it is committed."""

    def add_digests(self, digests: dict[Path, str]) -> None:
        """Note the digests of files written into the folder."""
        self.digests |= {path.relative_to(self.folder).as_posix(): digests[path] for path in digests}

    @contextmanager
    def table(self, name: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
        """Yield a writer of a table in a file of the folder."""
        with (
            DigestedFile(self.folder / name) as file,
            pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            yield writer
        self.digests[name] = file.digest

    def write_table(self, name: str, table: pa.Table) -> None:
        with self.table(name, table.schema) as writer:
            writer.write_table(table)


def begin_work(corpus_dir: Path, settings: CorpusSettings, inputs: Mapping[str, str], key: str) -> Work:
    """Return the work of the plan of this key. What a crash or another version left short is removed.

    Raises DataError for a path that names nothing.
    """
    top = work_folder(corpus_dir)
    for other in top.iterdir() if top.is_dir() else []:
        if other.name not in (_LAYOUT, _OF_STORE):
            remove_folder(other)
    place = _place_of(corpus_dir, settings.engine.store)
    folder = place.top / _PLANS / _short(key)
    place.tidy([*(place.top / stage for stage in STAGES), folder])
    if not place.done([folder / _PLAN]):
        with place.new(folder / _PLAN, Output) as output:
            output.digests = write_plan(output.folder, settings, inputs, key)
    return Work(folder, place)


def _place_of(corpus_dir: Path, store: str | None) -> TaskFolder:
    if store is None:
        return TaskFolder(work_folder(corpus_dir) / _LAYOUT)
    return TaskStore(store, _INSIDE, SETTING, work_folder(corpus_dir) / _OF_STORE)


def work_of_plan(corpus_dir: Path, name: str, store: str | None) -> Work | None:
    """Return the work that made a corpus, None where it is gone."""
    place = _place_of(corpus_dir, store)
    folder = place.top / _PLANS / name
    return Work(folder, place) if place.done([folder / _PLAN]) else None


def open_work(address: str) -> Work:
    """Return the work that another process has at this address (`Work.address`)."""
    if not is_address(address):
        return Work(Path(address), TaskFolder(Path(address).parent.parent))
    store, _, name = address.rpartition(f"/{_INSIDE}/{_PLANS}/")
    place = TaskStore(store, _INSIDE, SETTING)
    return Work(place.top / _PLANS / name, place)


class Work(TaskSet):
    """The work of one plan: which tasks are done, and what they made."""

    def __init__(self, folder: Path, place: TaskFolder) -> None:
        maker = "headwater.corpus.tasks.run:tasks_of_corpus"
        super().__init__(folder, place, maker, {"work": place.address_of(folder)})
        place.fetch((folder / _PLAN, name) for name in PLAN_FILES)
        self.plan = Plan(folder / _PLAN)
        self._top = place.top
        self._keys_of = cache(self._read_keys)  # of a stage that was asked for
        self.lines_of = cache(self._read_lines)  # of a slice: where it starts in its file, and its lines; many ask

    @cached_property
    def measures(self) -> dict[str, ChosenMeasure]:
        return {each.name: each for each in chosen_measures(self.plan.settings, self.plan.inputs)}

    def ask(
        self,
        stage: str,
        tables: Mapping[int, pa.Table],
        way: Mapping[str, Any],
        of_slice: Callable[[int, pa.Table], Any],
    ) -> None:
        """Write down what a stage is asked to do with the texts of some slices, a table each.

        What else decides about the answer: `way`, how it is found; `of_slice`, what is the slice's own.

        The same question of the same texts has the same key: it is answered already where another build asked it.
        One that is there is asked again where its answers are found in another way by now.
        """
        path = self.folder / f"ask-{stage}"
        if self.place.done([path]):
            if self.way_of(stage)["way"] == digest_json(dict(way)):
                return
            self.place.remove(path)
        with self.place.new(path, Output) as output:
            keys = {}
            for number, table in tables.items():
                output.write_table(f"{number:06d}.parquet", table)
                table_digest = output.digests[f"{number:06d}.parquet"]
                keys[str(number)] = digest_json(
                    {"way": dict(way), "slice": of_slice(number, table), "question": table_digest}
                )
            measures = {each.name: dict(each.depends_on) for each in self.measures.values()}
            output.facts = {"keys": keys, "way": digest_json(dict(way)), "measures": measures}

    def question(self, stage: str, number: int) -> pa.Table:
        """Return what a stage is asked to do with the texts of a slice."""
        return self.table(self.folder / f"ask-{stage}", f"{number:06d}.parquet")

    def numbers_in_question(self, stage: str) -> list[int]:
        return [int(number) for number in self._keys_of(stage)]

    def _read_lines(self, number: int) -> tuple[int, int]:
        facts = self.facts_of(LINES, number)
        return facts["start"], facts["lines"]

    def _read_keys(self, stage: str) -> dict[str, str]:
        return dict(self.place.output(self.folder / f"ask-{stage}").facts["keys"])

    def path_of(self, stage: str, number: int) -> Path:
        texts = _short(self.plan.parts[number].key)
        if stage in (LINES, TEXTS):
            return self._top / stage / texts
        return self._top / stage / f"{texts}-{_short(self._keys_of(stage)[str(number)])}"

    def way_of(self, stage: str) -> dict[str, str]:
        return {"way": self.place.output(self.folder / f"ask-{stage}").facts["way"]}

    def other_answers(self, stage: str, number: int) -> list[Path]:
        """Return where other questions about the same texts were answered, in the same way: much is the same."""
        way = self.way_of(stage)
        # none of a store's: each task would ask for a list of all
        found = sorted((self._top / stage).glob(f"{_short(self.plan.parts[number].key)}-*"))
        return [path for path in found if (path / outputs.TASK_FILE).is_file() and read_output(path).facts == way]

    def columns_of(self, measure: str, number: int) -> Path:
        """Return where a measure's columns of a slice are."""
        key = self.measures[measure].key(self.plan.parts[number].key)
        return self._top / COLUMNS / f"{measure}-{_short(key)}"

    def columns_of_build(self, number: int) -> dict[str, Path]:
        """Return where the columns of a slice are, by measure, as a build that is done noted it.

        No measure is loaded: a page that shows a corpus must not run the code that its settings name.
        """
        texts_key = self.plan.parts[number].key
        return {
            name: self._top / COLUMNS / f"{name}-{_short(values_key(texts_key, depends_on))}"
            for name, depends_on in self.noted_measures.items()
        }

    @cached_property
    def noted_measures(self) -> dict[str, dict[str, Any]]:
        """What the values of each measure depend on beside the texts, as a build that is done noted it."""
        return dict(self.place.output(self.folder / f"ask-{WRITE}").facts.get("measures", {}))

    def missing(self, tasks: Iterable[Task]) -> list[Task]:
        """Return those of some tasks that are not done."""
        made = {task: self._made_by(task) for task in tasks}
        done = self.place.done(path for paths in made.values() for path in paths)
        return [task for task, paths in made.items() if not done.issuperset(paths)]

    def _made_by(self, task: Task) -> list[Path]:
        if task.stage not in (COLUMNS, GPU_COLUMNS):
            return [self.path_of(task.stage, task.number)]
        measures = [each.name for each in self.measures.values() if _stage_of(each) == task.stage]
        return [self.columns_of(name, task.number) for name in measures]

    def missing_measures(self, number: int, stage: str) -> list[str]:
        """Return the measures of a stage whose columns of a slice are not there."""
        names = [each.name for each in self.measures.values() if _stage_of(each) == stage]
        done = self.place.done(self.columns_of(name, number) for name in names)
        return [name for name in names if self.columns_of(name, number) not in done]

    def fetch_facts(self, tasks: Iterable[Task]) -> None:
        """Have at hand what tasks noted, of many at once."""
        self.place.fetch((path, outputs.TASK_FILE) for task in tasks for path in self._made_by(task))

    def name_of(self, task: Task) -> str:
        return str(self.plan.parts[task.number])

    def num_bytes_of(self, task: Task) -> int:
        return self.plan.parts[task.number].num_bytes

    def gpus_of(self, stage: str) -> float:
        """Return the GPUs for a task of the measures that use any."""
        return max(each.gpus for each in self.measures.values()) if stage == GPU_COLUMNS else 0.0

    def new_output(self, folder: Path) -> AbstractContextManager[Output]:
        """Return the output of a task, which is kept when the block ends without an error."""
        return self.place.new(folder, Output)

    def table(self, folder: Path, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return a table of an output; raise DataError where it isn't as it was written."""
        try:
            return pq.read_table(self.place.open_whole(folder, name), columns=columns, page_checksum_verification=True)
        except (OSError, pa.ArrowInvalid) as error:
            raise damaged(folder / name, error) from error

    def rows(self, folder: Path, name: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table that is large; raise DataError where it isn't as it was written."""
        try:
            with pq.ParquetFile(self.place.open_whole(folder, name), page_checksum_verification=True) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise damaged(folder / name, error) from error

    def lines(self, stage: str, number: int, folder: str) -> Iterator[bytes]:
        """Yield the lines of the shards that a task wrote into a folder of its output."""
        path = self.path_of(stage, number)
        for name in sorted(self.place.output(path).digests):
            if name.startswith(f"{folder}/"):
                yield from read_shard(self.place.open_whole(path, name))

    @property
    def documents_file(self) -> str:
        """The file of an output of texts with all but their text: in a store one of its own, since others are far."""
        return _DOCUMENTS_FILE if isinstance(self.place, TaskStore) else TEXTS_FILE

    def facts_of(self, stage: str, number: int) -> dict[str, Any]:
        return self.place.output(self.path_of(stage, number)).facts

    def digests_of(self, stage: str, number: int) -> dict[str, str]:
        """Return the digest of every file that a task wrote, by its name in the task's folder."""
        return self.place.output(self.path_of(stage, number)).digests

    def remove_others(self) -> None:
        """Remove what this plan doesn't use: what other settings or earlier texts left."""
        used = {self.folder}
        for part in self.plan.parts:
            used |= {self.path_of(stage, part.number) for stage in (LINES, TEXTS)}
            used |= {self.columns_of(name, part.number) for name in self.measures}
        for stage in (OWN, VERIFY, COPIED, SHORTENED):
            used |= {self.path_of(stage, number) for number in self.numbers_in_question(stage)}
        for stage in (*STAGES, _PLANS):
            for path in self.place.outputs_in(self._top / stage):
                if path not in used:
                    self.place.remove(path)


def _stage_of(measure: ChosenMeasure) -> str:
    return GPU_COLUMNS if measure.gpus else COLUMNS


def part_of(number: int) -> int:
    """Return the slice of a document's number."""
    return number >> RECORD_BITS


def record_of(number: int) -> int:
    """Return the place in its slice of a document's number."""
    return number & ((1 << RECORD_BITS) - 1)


def damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} can't be read ({error}); remove {path.parent} and give the same command again")


def _short(key: str) -> str:
    return key.rpartition(":")[2][:_KEY_CHARACTERS]
