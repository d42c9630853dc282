"""What a corpus is made from, cut into parts of bounded size before the work begins: one task of a stage does one part.

plan.json      settings, key, and the parts: their source and the raw bytes of their files
files.jsonl    one line a part: its files, read by the task that filters it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile, json_bytes, read_json
from headwater.corpus.read.files import source_files
from headwater.corpus.read.remote import is_address, size_of
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.source_paths import path_as_text, path_of_text
from headwater.corpus.sources.settings import CorpusSettings

FORMAT = "headwater-corpus-work"
_OPENING_BYTES = 1000  # what opening a file counts as, so that a part of tiny ones ends, too


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive files of a source; `number` counts all parts, `index` those of the source.

    `at` is where its files stand in files.jsonl, -1 for a source that comes with a package and is read whole.
    """

    number: int
    source: str
    index: int
    num_bytes: int
    at: int = -1
    first_file: str = ""
    num_files: int = 0

    def __str__(self) -> str:
        if self.at < 0:
            return f"source {self.source}"
        more = f" and {self.num_files - 1:,} more" if self.num_files > 1 else ""
        return f"part {self.index} of source {self.source} ({self.first_file}{more})"


class Plan:
    """The plan in a work folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            table: dict[str, Any] = read_json(folder / "plan.json")
            self.key: str = table["key"]
            self.settings = CorpusSettings.model_validate(table["settings"])
            self.parts = [Part(**part) for part in table["parts"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} holds no plan ({error}); remove it and build the corpus again") from error

    def files(self, part: Part) -> list[ListedFile]:
        """Return the files of a part."""
        with open(self._folder / "files.jsonl", "rb") as file:
            file.seek(part.at)
            files = json.loads(file.readline())
        return [ListedFile(path_of_text(name), *rest) for name, *rest in files]


def write_plan(folder: Path, settings: CorpusSettings, key: str) -> dict[str, str]:
    """Write a plan into an unfinished folder and return its files' digests.

    Raises DataError for a path that names nothing.
    """
    parts: list[Part] = []
    with DigestedFile(folder / "files.jsonl") as lines:
        for source in settings.sources:
            found = source_files(source, settings)
            if found is None:
                parts.append(Part(len(parts), source, 0, 0))
                continue
            for index, (files, num_bytes) in enumerate(_groups(found, settings.task_bytes)):
                part = Part(len(parts), source, index, num_bytes, lines.num_bytes, files[0].origin, len(files))
                parts.append(part)
                lines.write(json.dumps([(path_as_text(file.path), *file[1:]) for file in files]).encode() + b"\n")
    if settings.decontaminate is not None:  # for workers that start elsewhere; sources' files are listed
        settings = settings.model_copy(update={"decontaminate": settings.decontaminate.with_absolute_paths()})
    table = {"format": FORMAT, "key": key, "settings": settings.model_dump(mode="json")}
    data = json_bytes({**table, "parts": [asdict(part) for part in parts]})
    with DigestedFile(folder / "plan.json") as file:
        file.write(data)
    return {"files.jsonl": lines.digest, "plan.json": file.digest}


def _groups(files: Iterator[ListedFile], task_bytes: int) -> Iterator[tuple[list[ListedFile], int]]:
    """Yield consecutive files, of `task_bytes` in all or one larger file, with their size.

    Large files of lines could be cut here: a part would then have a range of bytes beside its file.
    """
    group: list[ListedFile] = []
    total = 0
    for file in files:
        size = _size(file)
        if group and total + size + _OPENING_BYTES * len(group) > task_bytes:
            yield group, total
            group, total = [], 0
        group.append(file)
        total += size
    if group:
        yield group, total


def _size(file: ListedFile) -> int:
    if file.skipped:
        return 0
    if is_address(file.origin):
        return size_of(file.origin, "a file of the corpus")
    try:
        return file.path.stat().st_size
    except (OSError, ValueError):  # its reader says what is wrong with it
        return 0
