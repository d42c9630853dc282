"""The folder in which a corpus is made, beside the corpus. What is done there stays for the next build with it.

texts/KEY/              what a slice of a source holds, read: texts.parquet, what was dropped; KEY is what was read, how
columns/MEASURE-KEY/    what a measure says of these texts
own, verify, shortened, write: what was done with some of these texts, by what was asked of them
plans/KEY/              settings and slices of one build, and what it decided between two stages

A task's folder appears whole: a task whose folder is there is done, and one that was killed leaves nothing under that
name. Nothing here is flushed to the device, since all of it can be made again. What a power cut left short is found
by its size when a build begins; pages of Parquet have checksums for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.core import task_output as outputs
from headwater.core.errors import DataError, StorageError
from headwater.core.files import DigestedFile, digest_json, remove_folder
from headwater.core.task_output import new_output, read_output, work_folder
from headwater.corpus.measures.chosen import ChosenMeasure, chosen_measures, values_key
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks.plan import Plan, write_plan

_LAYOUT = "8"  # raise it when what tasks write is laid out differently: work that an older version began is removed
TEXTS, COLUMNS, OWN, VERIFY, SHORTENED, WRITE = "texts", "columns", "own", "verify", "shortened", "write"
GPU_COLUMNS = "gpu_columns"  # of the measures that want GPUs
STAGES = (TEXTS, COLUMNS, OWN, VERIFY, SHORTENED, WRITE)
_PLANS, _PLAN = "plans", "plan"
_KEY_CHARACTERS = 20
RECORD_BITS = 32  # of a document's number: those above them are its slice's, so that numbers are in reading order


@dataclass(frozen=True, slots=True)
class Task:
    """The unit of work: what `stage` does to the slice of this number."""

    stage: str
    number: int = 0


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


def begin_work(corpus_dir: Path, settings: CorpusSettings, inputs: Mapping[str, str], key: str) -> Path:
    """Return the folder of the plan of this key. What a crash or another version left short is removed.

    Raises DataError for a path that names nothing.
    """
    top = work_folder(corpus_dir)
    for other in top.iterdir() if top.is_dir() else []:
        if other.name != _LAYOUT:
            remove_folder(other)
    top = top / _LAYOUT
    for stage in STAGES:
        outputs.remove_short(top / stage)
    folder = plan_folder(corpus_dir, _short(key))
    outputs.remove_short(folder)
    if not (folder / _PLAN).is_dir():
        with new_output(folder / _PLAN, Output) as output:
            output.digests = write_plan(output.folder, settings, inputs, key)
    return folder


def plan_folder(corpus_dir: Path, name: str) -> Path:
    """Return where the plan of this name is, or would be."""
    return work_folder(corpus_dir) / _LAYOUT / _PLANS / name


class Work:
    """The work of one plan: which tasks are done, and what they made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = Plan(folder / _PLAN)
        self._top = folder.parent.parent
        self._keys_of = cache(self._read_keys)  # of a stage that was asked for

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
        if path.is_dir():
            if self.way_of(stage)["way"] == digest_json(dict(way)):
                return
            remove_folder(path)
        with new_output(path, Output) as output:
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
        return read_table(self.folder / f"ask-{stage}" / f"{number:06d}.parquet")

    def numbers_in_question(self, stage: str) -> list[int]:
        return [int(number) for number in self._keys_of(stage)]

    def _read_keys(self, stage: str) -> dict[str, str]:
        return dict(read_output(self.folder / f"ask-{stage}").facts["keys"])

    def path_of(self, stage: str, number: int) -> Path:
        texts = _short(self.plan.parts[number].key)
        return self._top / stage / (texts if stage == TEXTS else f"{texts}-{_short(self._keys_of(stage)[str(number)])}")

    def way_of(self, stage: str) -> dict[str, str]:
        return {"way": read_output(self.folder / f"ask-{stage}").facts["way"]}

    def other_answers(self, stage: str, number: int) -> list[Path]:
        """Return where other questions about the same texts were answered, in the same way: much is the same."""
        way = self.way_of(stage)
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
        return dict(read_output(self.folder / f"ask-{WRITE}").facts.get("measures", {}))

    def is_done(self, task: Task) -> bool:
        if task.stage in (COLUMNS, GPU_COLUMNS):
            return not self.missing_measures(task.number, task.stage)
        return self.path_of(task.stage, task.number).is_dir()

    def missing_measures(self, number: int, *stages: str) -> list[str]:
        """Return the measures whose columns of a slice are not there, of some stages or of all."""
        names = [each.name for each in self.measures.values() if not stages or _stage_of(each) in stages]
        return [name for name in names if not self.columns_of(name, number).is_dir()]

    @property
    def gpus(self) -> float:
        """GPUs for a task of the measures that use any."""
        return max(each.gpus for each in self.measures.values())

    @contextmanager
    def new_output(self, path: Path) -> Iterator[Output]:
        """Yield the output of a task, which is committed when the block ends without an error.

        Where another process was faster, its output stays: both are the same.
        """
        is_complete = False
        try:
            with new_output(path, Output) as output:
                yield output
                is_complete = True
        except (StorageError, OSError):
            if not (is_complete and path.is_dir()):
                raise

    def facts_of(self, stage: str, number: int) -> dict[str, Any]:
        return read_output(self.path_of(stage, number)).facts

    def digests_of(self, stage: str, number: int) -> dict[str, str]:
        """Return the digest of every file that a task wrote, by its name in the task's folder."""
        return read_output(self.path_of(stage, number)).digests

    def remove_others(self) -> None:
        """Remove what this plan doesn't use: what other settings or earlier texts left."""
        used = {self.folder}
        for part in self.plan.parts:
            used |= {self.path_of(TEXTS, part.number)}
            used |= {self.columns_of(name, part.number) for name in self.measures}
        for stage in (OWN, VERIFY, SHORTENED):
            used |= {self.path_of(stage, number) for number in self.numbers_in_question(stage)}
        for stage in (*STAGES, _PLANS):
            for path in (self._top / stage).iterdir() if (self._top / stage).is_dir() else []:
                if path not in used:
                    remove_folder(path)


def _stage_of(measure: ChosenMeasure) -> str:
    return GPU_COLUMNS if measure.gpus else COLUMNS


def part_of(number: int) -> int:
    """Return the slice of a document's number."""
    return number >> RECORD_BITS


def record_of(number: int) -> int:
    """Return the place in its slice of a document's number."""
    return number & ((1 << RECORD_BITS) - 1)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a table of the work folder; raise DataError where it isn't as it was written."""
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} can't be read ({error}); remove {path.parent} and give the same command again")


def _short(key: str) -> str:
    return key.rpartition(":")[2][:_KEY_CHARACTERS]
