"""What a corpus is made from, cut into slices of bounded size before the work begins: a task of a stage does one.

plan.json      settings, inputs, and the slices: their source, the key of what is read of them, raw bytes of their files
files.jsonl    one line a slice: its files, each with size and time, or what its store says of its version
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from headwater.core.errors import DataError
from headwater.core.files import DigestedFile, digest_json, json_bytes, read_json
from headwater.core.stores import is_address
from headwater.corpus.contents import identity_of
from headwater.corpus.read.files import source_files
from headwater.corpus.read.remote import size_of
from headwater.corpus.read.walk import ListedFile
from headwater.corpus.source_paths import path_as_text, path_of_text
from headwater.corpus.sources.formats import compression_of, format_of
from headwater.corpus.sources.settings import CorpusSettings

FORMAT = "headwater-corpus-work"
BESIDE_FILES = ("decontaminate:", "(licence", "(format", "(blocked")  # names of inputs that decide how files are read
PLAN_FILES = ("plan.json", "files.jsonl")
TEXTS_VERSION = 2  # raise it when the same files and settings are read as other texts
_SLICED = ("parquet", "jsonl")  # formats in which a record is found without those before it
_OPENING_BYTES = 1000  # what opening a file counts as, so that a part of tiny ones ends, too


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive files of a source; `number` counts all parts, `index` those of the source.

    `key` says what is read of them, and how: equal keys, equal texts. `at` is where its files stand in files.jsonl.
    """

    number: int
    source: str
    index: int
    num_bytes: int
    at: int
    first_file: str
    num_files: int
    key: str
    has_lines: bool = False  # a slice of a file of lines, which are counted

    def __str__(self) -> str:
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
            self.inputs: dict[str, str] = table["inputs"]
            self.parts = [Part(**part) for part in table["parts"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} holds no plan ({error}); remove it and build the corpus again") from error

    def files(self, part: Part) -> list[ListedFile]:
        """Return the files of a part."""
        return [ListedFile(path_of_text(name), *rest) for name, *rest in self._line(part)["files"]]

    def identities(self, part: Part) -> list[str]:
        """Return what was known of each file of a part when it was listed: see contents.identity_of."""
        return list(self._line(part)["identities"])

    def _line(self, part: Part) -> dict[str, Any]:
        with open(self._folder / "files.jsonl", "rb") as file:
            file.seek(part.at)
            return dict(json.loads(file.readline()))


def write_plan(folder: Path, settings: CorpusSettings, inputs: Mapping[str, str], key: str) -> dict[str, str]:
    """Write a plan into an unfinished folder and return its files' digests.

    Raises DataError for a path that names nothing.
    """
    parts: list[Part] = []
    with DigestedFile(folder / "files.jsonl") as lines:
        for source in settings.sources:
            how = how_read(settings, source, inputs)
            found = source_files(source, settings)
            if not settings.formats:  # one's own may have its own rows
                found = _sliced(found, settings.task_bytes)
            for index, (files, num_bytes) in enumerate(_groups(found, settings.task_bytes)):
                identities = ["" if file.skipped else identity_of(file.path, file.origin) for file in files]
                # without its slice the key of a whole file is what it was before there were any
                known = [file[1:] if file.end else file[1:4] for file in files]
                named = [[*each, identity] for each, identity in zip(known, identities)]
                of_part = digest_json({**how, "files": named})
                first = files[0].origin
                has_lines = any(file.end and format_of(file.path.name) == "jsonl" for file in files)
                place = lines.num_bytes, first, len(files), of_part, has_lines
                parts.append(Part(len(parts), source, index, num_bytes, *place))
                listed = [(path_as_text(file.path), *file[1:]) for file in files]
                lines.write(json.dumps({"files": listed, "identities": identities}).encode() + b"\n")
    given = for_workers(settings).model_dump(mode="json")
    table = {"format": FORMAT, "key": key, "inputs": dict(inputs), "settings": given}
    data = json_bytes({**table, "parts": [asdict(part) for part in parts]})
    with DigestedFile(folder / "plan.json") as file:
        file.write(data)
    return {"files.jsonl": lines.digest, "plan.json": file.digest}


def for_workers(settings: CorpusSettings) -> CorpusSettings:
    """Return the settings for processes that start elsewhere: sets by absolute paths; sources' files are listed."""
    if settings.decontaminate is None:
        return settings
    return settings.model_copy(update={"decontaminate": settings.decontaminate.with_absolute_paths()})


def how_read(settings: CorpusSettings, source: str, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return all that decides how a source's files become texts, beside the files: no measure, and no limit."""
    of_all = {"max_document_characters", "max_line_bytes", "max_file_bytes", "withhold", "decontaminate", "redact"}
    notices = {name: getattr(settings.rules, name).cut_notices for name in ("prose", "web", "reference", "text")}
    kept_out = {name: digest for name, digest in inputs.items() if name.startswith(BESIDE_FILES)}
    return {
        "version": TEXTS_VERSION,
        "source": source,
        "settings": settings.model_dump(mode="json", include=of_all),
        "of_source": settings.sources[source].model_dump(mode="json", exclude={"requires_all", "num_tokens"}),
        "notices": notices,
        "finds_licences": settings.licences is not None,
        "declares_licences": any(each.licence for each in settings.sources.values()),
        "kept_out": kept_out,
    }


def _sliced(files: Iterable[ListedFile], task_bytes: int) -> Iterator[ListedFile]:
    """Yield files, those of this machine whose rows or lines can be found in slices of `task_bytes` at most."""
    for file in files:
        is_cut = not file.skipped and not is_address(file.origin) and format_of(file.path.name) in _SLICED
        is_cut = is_cut and compression_of(file.path.name) is None
        count = -(-_size(file) // task_bytes) if is_cut else 1
        bounds = [_size(file) * at // count for at in range(count + 1)] if count > 1 else [0, 0]
        yield from (file._replace(start=start, end=end) for start, end in pairwise(bounds))


def _groups(files: Iterator[ListedFile], task_bytes: int) -> Iterator[tuple[list[ListedFile], int]]:
    """Yield consecutive files, of `task_bytes` in all or one that is larger, with their size."""
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
    if file.skipped or file.end:
        return file.end - file.start
    if is_address(file.origin):
        return size_of(file.origin, "a file of the corpus")
    try:
        return file.path.stat().st_size
    except (OSError, ValueError):  # its reader says what is wrong with it
        return 0
